"""The live page's files, as a node serves them: nothing of another origin, nothing inline, small, and cached by tag."""

import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from sequencer.api.page import FOLDER, INDEX, load_page
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem

NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(FakeNode()) as client:
        yield client


def find_references(text: str) -> set[str]:
    """Files that a page, a stylesheet or a module names."""
    found = re.findall(r"""(?:src|href)="([^"#]+)"|from "([^"]+)"|url\(([^)]+)\)""", text)
    return {name for names in found for name in names if name}


async def test_the_page_is_served_at_the_root(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (FOLDER / INDEX).read_bytes()


@pytest.mark.parametrize("name", NAMES)
async def test_every_file_is_served_as_what_it_is_with_a_policy(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/web/{name}")
    assert answer.content == (FOLDER / name).read_bytes()
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].partition(";")[0] == kind[name.rpartition(".")[2]]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_everything_that_the_page_needs_is_on_the_node(client: httpx.AsyncClient) -> None:
    """No font, script, style or picture from elsewhere; addresses are relative, so a prefix in front does no harm."""
    named = {INDEX: find_references((FOLDER / INDEX).read_text())}
    named |= {name: find_references((FOLDER / name).read_text()) for name in NAMES if name != INDEX}
    assert sum(map(len, named.values())) > 10
    for source, references in named.items():
        for reference in references - {"docs", "metrics"}:
            assert "//" not in reference, f"{source} names {reference}"
            path = reference if source == INDEX else "web/" + reference.removeprefix("./")
            assert (await client.get(f"/{path}")).status_code == 200, f"{source} names {reference}"


@pytest.mark.parametrize("name", NAMES)
def test_no_markup_is_made_from_texts_and_nothing_is_inline(name: str) -> None:
    """Texts of the API enter the page as text; the policy would stop the rest."""
    text = (FOLDER / name).read_text()
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert forbidden not in text
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)", text)


async def test_it_is_sent_compressed_to_whoever_can_read_that(client: httpx.AsyncClient) -> None:
    packed = await client.get("/", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    for accept in ("identity", "gzip;q=0, br", ""):
        plain = await client.get("/", headers={"Accept-Encoding": accept})
        assert "content-encoding" not in plain.headers
        assert plain.content == packed.content
        assert plain.headers["etag"] != packed.headers["etag"]


def test_all_of_it_is_small() -> None:
    files = load_page()
    assert set(files) == set(NAMES)
    assert sum(len(file.packed) for file in files.values()) < 40_000
    assert all(gzip.decompress(file.packed) == file.plain for file in files.values())


async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/web/app.js")
    tag = first.headers["etag"]
    for sent in (tag, f'W/{tag}, "x"', "*"):
        again = await client.get("/web/app.js", headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await client.get("/web/app.js", headers={"If-None-Match": '"x"'})
    assert (other.status_code, other.content) == (200, first.content)
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapi%2fpage.py", "__init__.py", "%2e%2e"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert_problem(await client.get(f"/web/{name}"), 404, "not_found")
