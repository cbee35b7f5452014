"""However a file is cut up, and wherever reading goes on, the same lines come out once."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.lines import GZIP, ZSTD, LinesSource
from upm_cli.sources.split import split_lines

plain = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=30).map(b"\n".join)
contents = plain.filter(lambda content: not content.startswith((GZIP, ZSTD)))


def lines_of(source: LinesSource, cuts: list[int]) -> list[tuple[int, bytes]]:
    """Read with a new piece size each time, going on from the position left before."""
    found, position = [], None
    for size in [*cuts, 1 << 20]:
        chunk = next(source.chunks(position, size), None)
        if chunk is None:
            break
        assert chunk.offset == (position.offset if position else 0)
        assert chunk.position.offset == chunk.offset + len(chunk.data)
        found.extend(split_lines(chunk.data, chunk.offset))
        position = chunk.position
    rest = source.chunks(position, 7)
    return found + [line for chunk in rest for line in split_lines(chunk.data, chunk.offset)]


@settings(max_examples=200, deadline=None)
@given(contents, st.lists(st.integers(1, 60), max_size=10))
def test_any_cut_gives_the_lines_of_the_file(content: bytes, cuts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.write_bytes(content)
        assert lines_of(LinesSource("key", str(path), "s"), cuts) == split_lines(content, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(50, 2000))
def test_growth_between_reads_loses_and_repeats_nothing(steps: list[int], size: int) -> None:
    line = b'{"window_id":"w%d","window_start":0,"window_end":1,"features":{}}\n'
    content = b"".join(line % n for n in range(40))
    ids, known, written = list[str](), [], 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.touch()
        for step in [*steps, len(content)]:
            with path.open("ab") as file:
                file.write(content[written : written + step])
            written += step
            (source,) = open_sources(str(path), known=known)
            for chunk in source.chunks(known[0] if known else None, size, final=False):
                known = [chunk.position]
                ids += Decoder().decode(chunk).batch.window_id.to_list()
    assert ids == [f"w{n}" for n in range(40)]
