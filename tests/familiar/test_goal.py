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
        "@types/tide.d.ts",
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


@pytest.mark.parametrize(
    ("text", "files"),
    [
        # Alphabets and marks of letters.
        ("Schreibe überblick.md und Größe.csv.", ("überblick.md", "Größe.csv")),
        ("写 日本語.md 和 说明.txt。", ("日本語.md", "说明.txt")),
        ("「報告.md」を書いて、README.mdも。", ("報告.md", "README.md")),
        ("اكتب تقرير.md", ("تقرير.md",)),
        ("लिखें रिपोर्ट.md", ("रिपोर्ट.md",)),
        ("Write re\u0301sume\u0301.md and 📄.md", ("r\u00e9sum\u00e9.md", "📄.md")),
        # Quotes of all kinds, with and without blanks.
        ("Write “a.md”, ‘b.md’, \"c.md\", 'd.md'.", ("a.md", "b.md", "c.md", "d.md")),
        ("Write «отчёт.md» and „c.md“.", ("отчёт.md", "c.md")),
        ("Write \"my notes.md\" and 'docs/x y.md'.", ("my notes.md", "docs/x y.md")),
        ("Write “x y.md”, „c d.md“ and «план работ.md».", ("x y.md", "c d.md", "план работ.md")),
        ("He said \"write notes.md\" twice.", ("notes.md",)),
        ("The mail 'see the page about index.html'", ("index.html",)),
        ("Write `Bericht (final).md` and `docs\\my notes.md`.",
         ("Bericht (final).md", "docs/my notes.md")),
        ("Write `a.md b.md`, `c.md`/`d.md`, `e.md.`", ("a.md", "b.md", "c.md", "d.md", "e.md")),
        ("Write “L’été.md” and `x.md#intro`, `y.py:12`, `z.py:1-9`.",
         ("L’été.md", "x.md", "y.py", "z.py")),
        # What stands around a name.
        ("Write **a.md**, *b.md*, _c.md_, ~~d.md~~ and <code>e.md</code>.",
         ("a.md", "b.md", "c.md", "d.md", "e.md")),
        ("See [the notes](docs/notes.md); a.md,b.md|c.md→d.md",
         ("docs/notes.md", "a.md", "b.md", "c.md", "d.md")),
        ("Write src/app.py:12, b.md#intro and notes.md's text", ("src/app.py", "b.md", "notes.md")),
        ('{"file": "x/a.md"} path=b.md', ("x/a.md", "b.md")),
        # Forms of names.
        ("Write notes.MD, page.HTML, 1.md, _config.yml and __init__.py",
         ("notes.MD", "page.HTML", "1.md", "_config.yml", "__init__.py")),
        ("Write main.c, x.h, util.cc, b.cs, app.js, index.vue and t.tf.",
         ("main.c", "x.h", "util.cc", "b.cs", "app.js", "index.vue", "t.tf")),
        ("Write .github/workflows/ci.yml, docs/.hidden.md and .eslintrc.json",
         (".github/workflows/ci.yml", "docs/.hidden.md", ".eslintrc.json")),
        ("Write a Dockerfile, docker/Dockerfile, Makefile, .gitignore and .env.example.",
         ("Dockerfile", "docker/Dockerfile", "Makefile", ".gitignore", ".env.example")),
        ("Write src/[slug]/page.tsx and app/(group)/x.tsx",
         ("src/[slug]/page.tsx", "app/(group)/x.tsx")),
        ("Write a+b.md, c++.md and a-b_c.d.md", ("a+b.md", "c++.md", "a-b_c.d.md")),
        ("Run `python app.py --port 8000` and `cat b.md > c.md`", ("app.py", "b.md", "c.md")),
    ],
)  # fmt: skip
def test_a_name_is_found_whatever_stands_around_it(text: str, files: tuple[str, ...]) -> None:
    assert read_goal(text, max_bytes=LIMIT).files == files


@pytest.mark.parametrize(
    "text",
    [
        "Upgrade to `v1.2.3`, `1.2.3`, `python3.11`, `gpt-4.1` and `3.14`.",
        "On 2024.01.02 or `12.05.2024` at `10.0.0.1` and `127.0.0.1:8080`",
        "Ask `me@example.com` or bob@site.py.",
        "Use `@scope/pkg`, `@types/node`, `origin/main` and `refs/heads/x`.",
        "Answer with `application/json`, `text/html` or `image/svg+xml`.",
        "The ratio `1/2`, `n/a`, `and/or`, `TCP/IP`, `I/O`, `yes/no`.",
        "GET `/v1/runs` and `/healthz`.",
        "Call `foo.bar()`; never `x = a.py`?",
        "Use `Node.js`, Next.js and D3.js, ASP.NET and Socket.IO.",
        "See www.example.com/page.html, example.org/index.html and docs.python.org/3/re.html.",
        "ftp://x/a.txt s3://b/c.json git@github.com:x/y.md file:///tmp/a.md",
        "Look into `docs/`, `src/**` and `*.md`.",
        "Compare 1.md5 and sha.txt2; `.`, `..`, `...`",
        "Use `e.g.` and `i.e.`",
        "Write `-rf.md`.",
    ],
)
def test_versions_addresses_products_and_code_are_no_files(text: str) -> None:
    assert read_goal(text, max_bytes=LIMIT).files == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Import `os.path`.", "no ending"),
        ("Write `prices.wxyz`.", "no ending"),
        ("Write `src/**/*.py`.", "pattern"),
        ("Write `a=b.md`.", "code"),
        ("Write `a..b.md`.", "pattern"),
        ("Write `$HOME/a.md`.", "variable"),
        ("Write `%TEMP%\\a.md`.", "variable"),
        ("Write `~user/a.md`.", "home"),
        ("Write `\\\\server\\share\\a.md`.", "absolute"),
        ("Write a/./b.md.", "empty"),
        ("Write a/../b.md.", "leaves"),
    ],
)
def test_what_a_name_was_taken_for_is_told(text: str, words: str) -> None:
    goal = read_goal(text, max_bytes=LIMIT)
    assert goal.files == ()
    assert [words in str(name.problem) for name in goal.taken] == [True]


@pytest.mark.parametrize(
    "piece", ["a", "a.", "a/", '"', "'a b", "[[a]]/", "~", "_a.md_", "../", "日", "`a", "Docker/"]
)
@pytest.mark.timeout(60)
def test_a_hostile_goal_is_read_to_its_end(piece: str) -> None:
    read_goal(piece * (500_000 // len(piece)), max_bytes=10 * LIMIT)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Write a file named `notes`.", "notes"),
        ("Write a file called notes.", "notes"),
        ("Write a file called notes.md.", "notes.md"),
        ("Write a file called 'tide-table', please.", "tide-table"),
        ("Write docs/README and stop.", "docs/README"),
        ("Write a file called the plan, plan.md.", "plan.md"),
    ],
)
def test_a_file_without_an_ending_is_found_by_the_words_around_it(text: str, path: str) -> None:
    assert read_goal(text, max_bytes=LIMIT).files == (path,)
