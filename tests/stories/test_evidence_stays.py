"""A photo's bytes are evidence: announced first, kept untouched, receipted by the server's clock, and only then let go."""

from storage.objects import Objects, photo_key
from tests.photo_builder import jpeg, picture, sha256_of
from tests.stories.day import Day, body, shared_site, sync
from tests.world import COUNTY


async def test_original_bytes_are_kept_untouched_and_the_phone_lets_go_only_after_the_receipt(day: Day) -> None:
    """Promise 10."""
    a = await day.member()
    site = shared_site(a)
    original = jpeg(picture(1))
    photo = a.add_photo(site, original)
    day.at(30)
    await sync(a)
    assert [held.held for held in a.photos()] == [True]  # the record has its receipt, the bytes have not
    uploaded = await a.upload_photos()
    assert (uploaded.received, uploaded.waiting) == (1, 0)
    await sync(a)
    assert [held.held for held in a.photos()] == [False]
    assert body(a, photo)["sha256"] == sha256_of(original)
    objects: Objects = day.world.app.state.resources.objects
    assert await objects.read(photo_key(COUNTY, sha256_of(original)), len(original) + 1) == original
    row = await day.world.pool.fetchrow("SELECT state, received_at FROM blob WHERE county = $1", COUNTY)
    assert (row["state"], row["received_at"]) == ("received", day.world.time)
