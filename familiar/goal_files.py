"""The files that a goal names, and the path that each name was taken for.

A name in backticks is a file whatever its alphabet, when it has the ending of a file, a folder, or
the name of a file that has none (`Dockerfile`); one in other quotes when it has a blank. A bare
name is one with an ending of a text. Versions, addresses, products and code only look like files.
`src\\a.py` and `./a.py` are taken for what they mean; a name that leaves the workspace, or has an
ending that nobody knows, is told and not taken. Linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from familiar.path import planned_path_problem

_ENDINGS = frozenset(
    """
    html htm css scss sass less md mdx markdown rst adoc tex bib txt py pyi ipynb json jsonl
    ndjson json5 geojson yaml yml toml xml xsd xsl svg ini cfg conf csv tsv sql sh bash zsh fish bat
    ps1 psm1 rs go ts tsx js jsx mjs cjs mts cts java kt kts rb cpp cxx cc c hpp hh h cs fs vb php
    swift lua pl r rmd qmd jl dart scala clj hs elm ex exs erl ml nim zig nix sol vue svelte astro
    hbs ejs j2 jinja tmpl tpl proto graphql gql prisma tf tfvars hcl gradle cmake mk asm cu glsl
    wgsl properties plist srt vtt ics
    """.split()  # noqa: SIM905 (a word list)
)
"""Of texts: these make a bare name a file."""
_OTHER_ENDINGS = frozenset(
    """
    pdf doc docx odt rtf xls xlsx ods ppt pptx odp png jpg jpeg gif webp ico bmp tiff avif mp3 mp4
    wav ogg flac webm mov avi zip tar gz bz2 xz 7z zst jar whl so dll exe bin dat sqlite parquet
    npy npz pkl pt onnx gguf safetensors wasm woff woff2 ttf otf pem crt pub example sample template
    bak tmp f90 lisp vim eps psd blend stl service lock diff po
    """.split()  # noqa: SIM905
)
_WITHOUT = frozenset(
    """
    dockerfile containerfile makefile justfile procfile gemfile rakefile vagrantfile jenkinsfile
    license readme changelog authors codeowners notice go.mod go.sum
    """.split()  # noqa: SIM905
)
_PRODUCTS = re.compile(
    r"(?:node|vue|next|nuxt|react|express|three|d3|angular|ember|backbone|p5|chart|alpine|nest"
    r"|moment|discord|electron|solid|socket\.io|require|knockout|meteor|ext|handlebars)\.js",
    re.I,
)
_COMMANDS = frozenset(
    """
    python python3 node deno bun npm npx pnpm yarn pip pipx uv poetry bash sh zsh cat cd ls rm cp mv
    touch mkdir chmod vim nano code less head tail grep sed awk echo source open make git cargo go
    rustc ruby perl php java javac gcc g++ clang docker kubectl helm terraform curl wget pytest ruff
    mypy tsc tar unzip diff find sudo import from write create read see edit add update the a an in
    of on to for with about like mail call called named file files page
    """.split()  # noqa: SIM905
)
"""First words of a command or a sentence, of which only the bare names are files."""

_QUOTED = re.compile(r"`([^`\n]{1,240})`")
_SPOKEN = re.compile(
    r'"([^"\n]{1,240})"|“([^“”\n]{1,240})”|„([^„“”\n]{1,240})[“”]|[«»]([^«»\n]{1,240})[«»]'
    r"|「([^「」\n]{1,240})」|『([^『』\n]{1,240})』|‘([^‘’\n]{1,240})’|(?<!\w)'([^'\n]{1,240})'(?!\w)"
)
_LETTER = (
    r"\w+\u0300-\u036f\u0591-\u05c7\u0610-\u06ed\u0900-\u0963\u0966-\u109f\u1780-\u17d3\u3099\u309a"
    r"\u2600-\u27bf\ufe0f\U0001f300-\U0001faff"
)
"""Letters, the marks that some alphabets need beside them, and pictures."""
_PIECE = rf"[{_LETTER}][{_LETTER}\-]{{0,80}}"
_GROUP = r"\[{1,2}(?:\.{3})?[\w\-]{1,40}\]{1,2}|\([\w\-]{1,40}\)"
_BEFORE = r"(?:[A-Za-z]:[/\\]|~?[/\\]|(?:\.{1,2}[/\\]){1,8})?"
_STEP = r"(?:[/\\](?:\.{1,2}[/\\]){0,4}\.?|\.)"
_KNOWN = "|".join(sorted(_ENDINGS, key=len, reverse=True))
_BARE = re.compile(
    r"(?<![\w./:\-@`+\\$%\])])(?<!(?<!~)~)"
    rf"((?:{_BEFORE}\.?{_PIECE}(?:{_STEP}(?:{_PIECE}|{_GROUP})){{0,8}}\.(?i:{_KNOWN})"
    rf"|(?:{_PIECE}/){{1,8}}(?:README|LICENSE|CHANGELOG|NOTICE|AUTHORS)"
    rf"|(?:{_PIECE}/){{0,8}}(?:(?:Docker|Container|Make|Just|Proc|Gem|Rake|Vagrant|Jenkins)file"
    r"|\.(?:env(?:\.\w{1,20})?|git(?:ignore|attributes)|dockerignore|npmrc|nvmrc|prettierrc|eslintrc|htaccess)))"
    r")(?![A-Za-z0-9/\\\-]|_\w|\.[a-z0-9])"
)
_CALLED = re.compile(r"\bfile (?:named|called) ([`\"'“]?)([\w\-]{1,80})[`\"'”]?(?!\w|[./\-]\w)")
"""A name that has neither an ending nor a folder."""
_DRIVE = re.compile(r"[A-Za-z]:/")
_PLACE = re.compile(r"(?:#[\w\-]*|:\d+(?:[:\-]\d+)*)\Z")
"""A place in a file: a heading, a line."""
_VARIABLE = re.compile(r"\$[A-Z{]|%\w+%")
_ODD = re.compile(r"[^<>|*?=;,{}\"]+\Z")
"""A quoted name that only looks like code: `[id].tsx`, `name(1).txt`."""
_NO_FILE = re.compile(r"[()<>|*?=$%;,\[\]{}]|://|^-|^\w+@|\s(?:--?\w|&&)")
_HIDDEN = re.compile(r"(?:^|/)\.[\w.-]+$")
_ADDRESS = re.compile(
    r"(?:[\w\-]+\.)+(?:com|org|net|edu|gov|io|dev|ai|app|co|de|uk|eu|ch|fr|jp|cn)/"
)
_PROSE = re.compile(
    r"(?:application|text|image|audio|video|font|multipart|model|message)/[\w.+\-]+"
    r"|(?:origin|upstream|refs|heads)/[\w./\-]+|(?:[A-Z]{1,5}|\w|\d+)(?:/(?:[A-Z]{1,5}|\w|\d+))+"
    r"|(?:and|or|either|yes|true|on|he|his|input|read)/(?:or|and|no|false|off|she|her|output|write)"
)


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A name as it is `written` in the goal, and its `path`; `problem` when it names no file."""

    written: str
    path: str
    problem: str | None = None


def named_paths(text: str) -> tuple[NamedPath, ...]:
    """The names in the order in which the text first has them."""
    found: list[tuple[int, NamedPath]] = []

    def read(match: re.Match[str], names: list[NamedPath] | None) -> str:
        """A quoted name is read as a whole: its tail is no bare name."""
        if names is None:
            return match.group()
        found.extend((match.start(), name) for name in names)
        return "`" * len(match.group())

    for match in _CALLED.finditer(text):
        if match.group(1) or match.group(2).lower() not in _COMMANDS:
            found.append((match.start(), _named(match.group(2))))
    bare = _QUOTED.sub(lambda match: read(match, _quoted(match.group(1))), text)
    bare = _SPOKEN.sub(lambda match: read(match, _spoken(match[match.lastindex or 0])), bare)
    for match in _BARE.finditer(bare):
        written = match.group(1)
        if bare[match.end() : match.end() + 1] == "_":  # emphasis, not a part of the name
            written = written.lstrip("_")
        if not _only_looks_so(written):
            found.append((match.start(), _named(written)))
    found.sort(key=lambda item: item[0])
    return tuple(dict.fromkeys(named for _, named in found))


def _quoted(written: str) -> list[NamedPath] | None:
    """The files that a text in backticks names; None where its bare names are to be read."""
    name = written.strip().replace("\\", "/")
    words = name.split()
    if not words or _sentence(words):
        return None
    if len(words) > 1 and all(_ending(word) in _ENDINGS for word in words):
        return [_named(word) for word in words]
    if (place := _PLACE.search(name)) and _ending(name[: place.start()]) in _ENDINGS:
        written = name = name[: place.start()]
    if name[-1] in ".,;:!?" and _ending(name.rstrip(".,;:!?")) in _ENDINGS:
        written = name = name.rstrip(".,;:!?")
    known = _ending(name) in _ENDINGS | _OTHER_ENDINGS
    last = name.rsplit("/", 1)[-1]
    if _VARIABLE.match(name):
        return [NamedPath(written, name, "it begins with a variable")]
    if _only_looks_so(name):
        return []
    range_ = any(".." in part and part != ".." for part in name.split("/"))
    if range_ or name[0] == "-" or (_NO_FILE.search(name) and not (known and _ODD.match(name))):
        why = "it looks like code or a pattern"
        return [NamedPath(written, name, why)] if known and "://" not in name else []
    folder = "/" in name and " " not in name and not name.endswith("/") and name[0] not in "/~@"
    if (
        known
        or folder
        or last.lower() in _WITHOUT
        or last.lower().startswith("dockerfile.")
        or _HIDDEN.search(name)
    ):
        return [_named(written)]
    if re.fullmatch(r"[^\s/]+\.[A-Za-z][A-Za-z0-9]{0,7}", name):
        return [NamedPath(written, name, f"{_ending(name)} is no ending of a file that is known")]
    return []


def _spoken(written: str) -> list[NamedPath] | None:
    """A name with blanks in other quotes; a sentence in quotes is read for its bare names."""
    words = written.split()
    odd = 1 < len(words) < 5 or "'" in written or "’" in written
    whole = odd and words and _ending(written) in _ENDINGS and _ODD.match(written)
    plain = not any("." in word or "@" in word or ":" in word for word in words[:-1])
    return _quoted(written) if whole and plain and not _sentence(words) else None


def _sentence(words: list[str]) -> bool:
    """Whether the words are a command or a sentence."""
    return len(words) > 1 and (
        words[0].lower() in _COMMANDS or any(word.startswith("-") and word != "-" for word in words)
    )


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _only_looks_so(name: str) -> bool:
    """Whether it is a version, an address, a product, or words with a stroke between."""
    return bool(
        _ADDRESS.match(name)
        or name.startswith("www.")
        or (name.startswith("@") and _ending(name) not in _ENDINGS)
        or _PRODUCTS.fullmatch(name)
        or _PROSE.fullmatch(name)
        or re.fullmatch(r"[\w.\-+]*\.\d\w*", name)
    )


def _named(written: str) -> NamedPath:
    path = unicodedata.normalize("NFC", written.strip().replace("\\", "/"))
    while path.startswith("./"):
        path = path[2:]
    if _DRIVE.match(path):
        return NamedPath(written, path, "it is absolute and must be relative to the workspace")
    return NamedPath(written, path, planned_path_problem(path))
