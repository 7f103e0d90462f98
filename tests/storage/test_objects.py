"""What we rely on of S3, shown on a real one: it takes no byte that the phone did not announce."""

import threading

import anyio
import httpx
import pytest

from contracts.problems import Problem, ProblemCode
from storage.objects import Objects, Put, S3Access, base64_of, photo_key
from tests.photo_builder import sha256_of

pytestmark = pytest.mark.anyio

BODY = b"the bytes of a photo" * 1000
SHA256 = sha256_of(BODY)


@pytest.fixture
def access(s3) -> S3Access:
    return S3Access(endpoint=s3.endpoint, bucket=s3.bucket, access_key=s3.access_key, secret_key=s3.secret_key)


@pytest.fixture
def objects(access: S3Access) -> Objects:
    return Objects(access)


@pytest.fixture
async def http():
    async with httpx.AsyncClient() as client:
        yield client


async def put(http: httpx.AsyncClient, objects: Objects, wanted: Put, body: bytes, headers: dict[str, str] | None = None) -> int:
    [url] = await objects.presign_puts([wanted])
    return (await http.put(url, content=body, headers=wanted.headers if headers is None else headers)).status_code


async def test_a_presigned_put_takes_the_announced_bytes_and_s3_vouches_for_their_hash(objects, http) -> None:
    key = photo_key(1, SHA256)
    assert await put(http, objects, Put(key=key, bytes=len(BODY), sha256=SHA256), BODY) == 200
    found = await objects.head(key)
    assert (found.bytes, found.sha256) == (len(BODY), SHA256)
    assert await objects.read(key, len(BODY)) == BODY


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(BODY.replace(b"p", b"q"), None, id="other bytes of the same length"),
        pytest.param(BODY[:-1], None, id="too few bytes"),
        pytest.param(BODY + b"x", None, id="too many bytes"),
        pytest.param(BODY, {}, id="no checksum sent"),
        pytest.param(BODY[::-1], {"x-amz-checksum-sha256": base64_of(sha256_of(BODY[::-1]))}, id="another checksum sent"),
    ],
)
async def test_a_presigned_put_refuses_everything_else(objects, http, body, headers) -> None:
    key = photo_key(2, SHA256)
    assert await put(http, objects, Put(key=key, bytes=len(BODY), sha256=SHA256), body, headers) in (400, 403)
    assert await objects.head(key) is None


async def test_a_chunk_has_the_signed_length_or_is_refused(objects, http) -> None:
    wanted = Put(key="3/chunks/x", bytes=1000)
    assert await put(http, objects, wanted, b"x" * 1001) == 403
    assert await put(http, objects, wanted, b"x" * 1000) == 200


async def test_an_expired_url_is_refused(access, http) -> None:
    objects = Objects(S3Access(**{**{f: getattr(access, f) for f in access.__struct_fields__}, "presigned_seconds": 1}))
    wanted = Put(key="4/chunks/x", bytes=4)
    [url] = await objects.presign_puts([wanted])
    await anyio.sleep(2.1)
    assert (await http.put(url, content=b"late")).status_code == 403
    assert await objects.head(wanted.key) is None


async def test_put_list_and_delete(objects) -> None:
    for name in ("b", "a", "c"):
        await objects.put(f"5/photos/{name}", name.encode(), sha256=sha256_of(name.encode()))
    assert [each.key for each in await objects.list_under("5/")] == ["5/photos/a", "5/photos/b", "5/photos/c"]
    assert [each.key for each in await objects.list_page("5/", after="5/photos/a", count=1)] == ["5/photos/b"]
    await objects.delete(["5/photos/a", "5/photos/gone"])
    assert [each.key for each in await objects.list_under("5/")] == ["5/photos/b", "5/photos/c"]


async def test_a_file_is_put_only_with_its_hash(objects, tmp_path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(BODY)
    with pytest.raises(Problem) as refused:
        await objects.put("6/photos/x", path, sha256=sha256_of(b"other"))
    assert refused.value.code is ProblemCode.STORAGE_UNAVAILABLE
    await objects.put("6/photos/x", path, sha256=SHA256)
    assert await objects.read("6/photos/x", 10) == BODY[:10]


async def test_a_dead_s3_is_a_coded_problem_with_a_time_to_come_again(access) -> None:
    dead = Objects(S3Access(endpoint="http://127.0.0.1:9", bucket=access.bucket, access_key="a", secret_key="b"))
    for call in (dead.head("x"), dead.list_under("x"), dead.read("x", 1), dead.delete(["x"])):
        with pytest.raises(Problem) as down:
            await call
        assert down.value.code is ProblemCode.STORAGE_UNAVAILABLE
        assert down.value.retry_after_s


async def test_s3_is_never_called_on_the_event_loop(objects, monkeypatch) -> None:
    threads = set()
    real = objects._client._make_api_call
    monkeypatch.setattr(objects._client, "_make_api_call", lambda *call: threads.add(threading.get_ident()) or real(*call))
    await objects.head("nothing")
    await objects.list_under("nothing")
    assert threads
    assert threading.get_ident() not in threads


async def test_bytes_without_a_known_hash_are_stored_with_one(objects) -> None:
    await objects.put("7/chunks/x", BODY)
    assert (await objects.head("7/chunks/x")).sha256 == SHA256


async def test_an_object_is_read_block_by_block(objects) -> None:
    large = BODY * 150
    await objects.put("8/photos/x", large)
    found = await objects.open("8/photos/x")
    assert found.bytes == len(large)
    assert b"".join([block async for block in found.blocks]) == large
    assert await objects.open("8/photos/none") is None
