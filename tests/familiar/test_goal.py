"""What a goal says by itself."""

from __future__ import annotations

import pytest

from familiar.errors import InputError
from familiar.goal import read_goal

LIMIT = 1_000_000


def test_files_are_found_in_the_order_in_which_they_are_first_named() -> None:
    text = "Write index.html and `data/prices.xyz`, then index.html again and notes.md."
    assert read_goal(text, max_bytes=LIMIT).files == ("index.html", "data/prices.xyz", "notes.md")


@pytest.mark.parametrize(
    "text",
    [
        "Use Node.js and Vue.js.",
        "See https://example.org/page.html for more.",
        "Write to ../../etc/passwd.txt",
        "mail a@b.html",
    ],
)
def test_what_only_looks_like_a_file_is_none(text: str) -> None:
    assert read_goal(text, max_bytes=LIMIT).files == ()


def test_what_the_goal_says_of_a_file_is_the_blocks_that_name_it() -> None:
    goal = read_goal("# Site\n\n- `a.html`: one\n  and more\n- `b.html`: two\n", max_bytes=LIMIT)
    assert goal.about("a.html") == "- `a.html`: one\n  and more"


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_goal_is_rejected_with_what_to_do(text: str) -> None:
    with pytest.raises(InputError, match="empty") as caught:
        read_goal(text, max_bytes=LIMIT)
    assert caught.value.field == "goal"
    assert caught.value.remedy


def test_a_goal_of_ten_megabytes_is_rejected_by_its_size() -> None:
    with pytest.raises(InputError, match="10000000 bytes"):
        read_goal("x" * 10_000_000, max_bytes=LIMIT)


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        "Dockerfile",
        "docker/Dockerfile",
        "日本語.md",
        "docs/release notes.md",
        "a+b.md",
        ".gitignore",
        "bin/tide",
        "überblick.html",
        "v1.2.txt",
    ],
)
def test_a_name_in_backticks_is_one_file_whatever_it_is_made_of(path: str) -> None:
    assert read_goal(f"Write `{path}` please.", max_bytes=LIMIT).files == (path,)


def test_a_path_that_cannot_name_a_file_is_told_and_not_taken() -> None:
    goal = read_goal("Write `a\u202egpj.md` and ` b.md `.", max_bytes=LIMIT)
    assert goal.files == ("b.md",)
    hidden, blank = goal.taken
    assert hidden.problem is not None
    assert (blank.written, blank.path, blank.problem) == (" b.md ", "b.md", None)


@pytest.mark.parametrize("said", ["`npm install`", "`--flag`", "`print(x.y)`", "`https://a.org/b`"])
def test_code_in_backticks_is_no_file(said: str) -> None:
    assert read_goal(f"Run {said} first.", max_bytes=LIMIT).files == ()


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("Write `src\\app.py` and lib\\b.py.", ("src/app.py", "lib/b.py")),
        ("Write ./notes.md and `./b.md`.", ("notes.md", "b.md")),
        ("Write main.go, lib.rs and a.tsx.", ("main.go", "lib.rs", "a.tsx")),
        ("Write `[id].tsx`, `name(1).txt` and `100%.md`.", ("[id].tsx", "name(1).txt", "100%.md")),
        ("Write `cafe\u0301.md`.", ("caf\u00e9.md",)),
        ("Напиши отчёт.md, и `файл.md`.", ("отчёт.md", "файл.md")),
        ("Write (notes.md), “b.md”; **c.md**…", ("notes.md", "b.md", "c.md")),
        ("Compare `HEAD..main` and `1..10`, then write a.md.", ("a.md",)),
    ],
)
def test_a_name_is_taken_for_the_path_that_it_means(text: str, files: tuple[str, ...]) -> None:
    assert read_goal(text, max_bytes=LIMIT).files == files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Write ~/notes.md.", "home"),
        ("Write `~/notes.md`.", "home"),
        ("Write /tmp/a.md.", "absolute"),
        ("Write `/etc/passwd.txt`.", "absolute"),
        ("Write ../up.md.", "leaves"),
        ("Write `../up.md`.", "leaves"),
        ("Write `a/../../up.md`.", "leaves"),
        ("Write `C:\\x\\a.txt` now.", "absolute"),
        ("Write C:\\x\\a.txt now.", "absolute"),
        ("Write `no\u200bte.md`.", "seen"),
        ("Write `don't.md`.", "quote"),
        ("Write `a//b.md`.", "empty"),
    ],
)
def test_a_name_that_cannot_be_a_file_here_is_told(text: str, words: str) -> None:
    goal = read_goal(text, max_bytes=LIMIT)
    assert goal.files == ()
    (named,) = goal.taken
    assert named.problem is not None
    assert words in named.problem
