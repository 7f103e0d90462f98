-- migrate:up

-- Photos after their announcement: completing an upload, what the picture shows, and which records still wait for it.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- completed_at: a phone says that all chunks are there; the worker has to compose and verify those of completed_by.
ALTER TABLE blob ADD COLUMN completed_at timestamptz, ADD COLUMN completed_by uuid;
CREATE INDEX blob_verifying ON blob (county, completed_at) WHERE state = 'wanted' AND completed_at IS NOT NULL;

-- noted_at: what the server found out has been written onto the photo's record.
ALTER TABLE blob_announcement ADD COLUMN announced_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN noted_at timestamptz;
CREATE INDEX blob_announcement_unnoted ON blob_announcement (county, sha256) WHERE noted_at IS NULL;

-- What is to be seen in received bytes, read once. words: the perceptual hash as 16 words of 16 bits, each as
-- county * 2^20 + place * 2^16 + word, so that one inverted index finds near pictures of one county: two hashes that
-- differ in at most 31 bits share a word but for at most one bit.
CREATE TABLE picture (
    county integer NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    format text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    exif json NOT NULL,
    pdq bit(256),
    pdq_quality smallint,
    words bigint[] NOT NULL DEFAULT '{}',
    rendered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county, sha256)
);
CREATE INDEX picture_words ON picture USING gin (words);

-- migrate:down
DROP TABLE picture;
DROP INDEX blob_announcement_unnoted;
ALTER TABLE blob_announcement DROP COLUMN announced_at, DROP COLUMN noted_at;
DROP INDEX blob_verifying;
ALTER TABLE blob DROP COLUMN completed_at, DROP COLUMN completed_by;
