"""Answers after public bug reports: the file comes out clean, or the call is asked again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from familiar import documents
from familiar.call import DocumentSpec
from familiar.errors import WireError

REPORTS = Path(__file__).parents[3] / "shared" / "reports"
if not REPORTS.is_dir():
    REPORTS = Path(__file__).parents[4] / "shared" / "reports"


def finished(text: str, file: str, kind: str = "document") -> str:
    frame = ("<main>\n", "\n</main>\n") if kind == "html-page" else ("", "")
    try:
        return documents.finish(text, DocumentSpec(kind, *frame), file).text
    except WireError:
        return "raises"


def test_the_reported_answers() -> None:
    cases = REPORTS / "model_output.jsonl"
    if not cases.is_file():
        pytest.skip("shared/reports is not here")
    wrong = []
    for line in cases.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        asked, _, kind = case["dialect"].partition(":")
        if asked != "document":
            continue
        text = finished(case["text"], case["file"], kind)
        if text not in case["expected"]["texts"]:
            wrong.append((case["id"], text))
    assert wrong == []


PAGE = "<!DOCTYPE html>\n<html><body><p>Hi</p></body></html>\n"
README = "# Tide\n\nA clock.\n\n## Use\n\n```bash\ntide run\n```\n"
CODE = "print('tide')\n"
RAISES = "raises"


@pytest.mark.parametrize(
    ("answer", "file", "texts"),
    [
        (f"~~~~\n{CODE}~~~~\n", "app.py", (CODE,)),
        (f"`````py\n{CODE}`````\nHope this helps!", "app.py", (CODE,)),
        (f"Here it is:\n\n~~~python\n{CODE}~~~\n", "app.py", (CODE,)),
        (
            f"```python\n{CODE}```\n\nAnd the test:\n\n```python\nassert 1\n```\n",
            "app.py",
            (RAISES,),
        ),
        (f"```python\n{CODE}```\n\nx = 1\n", "app.py", (RAISES,)),
        (f"~~~~markdown\n{README}~~~~\n", "README.md", (README,)),
        (f"Sure!\n\n````md\n{README}````\n\nLet me know.", "README.md", (README,)),
        (f"Here is the README:\n\n{README}", "README.md", (README,)),
        (README, "README.md", (README,)),
        ("```\na\n```\n\ntext\n\n```\nb\n```\n", "a.md", ("```\na\n```\n\ntext\n\n```\nb\n```\n",)),
        (f"<thinking>\nA page.\n</thinking>\n{PAGE}", "index.html", (PAGE,)),
        (f"Done thinking.</think>{CODE}", "app.py", (CODE,)),
        (f"<think>a `</think>` mark</think>\n{CODE}", "app.py", (CODE,)),
        ("<think>never ends", "app.py", (RAISES,)),
        (f"{CODE}<think>\nwait\n", "app.py", (RAISES,)),
        ('END = "</think>"\n', "app.py", ('END = "</think>"\n',)),
        ("# Marks\n\nUse `<think>`.\n", "a.md", ("# Marks\n\nUse `<think>`.\n",)),
        ("# M\n\n```\n<think>x</think>\n```\n", "a.md", ("# M\n\n```\n<think>x</think>\n```\n",)),
        ('<invoke name="write">\n</invoke>', "a.md", (RAISES,)),
        ('[TOOL_CALLS][{"name": "write"}]', "a.md", (RAISES,)),
        ('{"name": "write_file", "arguments": {"content": "x"}}', "a.py", (RAISES,)),
        (f"{CODE}<|im_end|>", "app.py", (CODE,)),
        (f"# How\n\nI did it so:\n\n```html\n{PAGE}```\n\n# Why\n\nx\n", "index.html", (PAGE,)),
        (f"Sure, with <b> tags:\n{PAGE}\nI hope this helps <3", "index.html", (PAGE, RAISES)),
        (f"\ufeff```python\n{CODE}```\n", "app.py", (CODE,)),
        (f"### app.py\n\n```python\n{CODE}```\n", "app.py", (RAISES,)),
        (
            f'# A\n"""D.\n\n```\nuse\n```\n"""\n{CODE}',
            "app.py",
            (f'# A\n"""D.\n\n```\nuse\n```\n"""\n{CODE}',),
        ),
        (f"I will write the file now.\n\n{CODE}", "app.py", (CODE,)),
        (f"Here is the file:\n{CODE}", "app.py", (CODE,)),
        ("ok:\n  a: 1\n", "a.yml", ("ok:\n  a: 1\n",)),
        (f"{CODE}\nThis prints a word.\n", "app.py", (RAISES,)),
        (f"{CODE}\nI hope this helps!\n", "app.py", (CODE,)),
        ("I'm sorry, but I can't write that file.", "app.py", (RAISES,)),
        ("I will go.\n\nI will.\n", "poem.md", ("I will go.\n\nI will.\n",)),
        ("--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-a\n+b\n", "app.py", (RAISES,)),
        ("```diff\n-a\n+b\n```\n", "app.py", (RAISES,)),
        ("```diff\n-a\n+b\n```\n", "fix.diff", ("-a\n+b\n",)),
        ("*** Begin Patch\n*** Update File: app.py\n", "app.py", (RAISES,)),
        ("```\n<tool_call>\n{}\n</tool_call>\n```", "app.py", (RAISES,)),
        ("Sure.\n<｜DSML｜tool_calls>\n", "a.txt", (RAISES,)),
        ("]<]minimax[>[<tool_call>\n", "app.py", (RAISES,)),
        ("<write_to_file>\n<path>a</path>\n</write_to_file>\n", "app.py", (RAISES,)),
        ('[{"name": "write_file", "arguments": {}}]', "app.py", (RAISES,)),
        ("<c>\n<parameter name='a'/>\n</c>\n", "a.xml", ("<c>\n<parameter name='a'/>\n</c>\n",)),
        (f"<|START_THINKING|>a<|END_THINKING|>{CODE}", "app.py", (CODE,)),
        (f"<|channel>thought\na<channel|>{CODE}", "app.py", (CODE,)),
        (f"<analysis>a</analysis>\n{CODE}", "app.py", (CODE,)),
        ("<analysis>\n<a/>\n</analysis>\n", "a.xml", ("<analysis>\n<a/>\n</analysis>\n",)),
        (f"{CODE}</s>", "app.py", (CODE,)),
        (f"{CODE}<end_of_turn>", "app.py", (CODE,)),
        ("Here you see:\n```html\n<p>a</p>\n```\nor\n```html\n<p>b</p>\n```", "a.html", (RAISES,)),
        (f"{CODE}```\n", "app.py", (CODE,)),
        (f'<file path="app.py">\n{CODE}</file>', "app.py", (CODE,)),
        (f"<output>{README}</output>", "README.md", (README,)),
        ("<answer>\n<a/>\n</answer>\n", "a.xml", ("<answer>\n<a/>\n</answer>\n",)),
        (f"File: app.py\n\n{CODE}", "app.py", (CODE,)),
        (f"=== src/app.py ===\n{CODE}", "src/app.py", (CODE,)),
        (f"# app.py\n{CODE}", "app.py", (f"# app.py\n{CODE}",)),
        ("# README.md\n\nText.\n", "README.md", ("# README.md\n\nText.\n",)),
        ('{"path": "app.py", "content": "x = 1\\n"}', "app.py", (RAISES,)),
        ('{"content": "x"}\n', "a.json", ('{"content": "x"}\n',)),
        (f"Thinking...\nI print.\n...done thinking.\n\n{CODE}", "app.py", (CODE,)),
        (f"analysisI think.assistantfinal{CODE}", "app.py", (CODE,)),
        (f"assistantfinal{CODE}", "app.py", (CODE,)),
        (f"<|im_start|>assistant\n{README}<|im_end|>", "README.md", (README,)),
        (f"<s>{README}</s>", "README.md", (README,)),
        (f"{CODE}<|endoftext|><|endoftext|>", "app.py", (CODE,)),
        ("\u200b", "a.md", (RAISES,)),
        ("<|begin_of_solution|>Hi<|end_of_solution|>", "a.txt", ("Hi\n",)),
        (
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|>",
            "a.txt",
            ("Hi\n",),
        ),
        (
            '<details type="reasoning" done="true">\n<summary>a</summary>\n</details>\nHi',
            "a.md",
            ("Hi",),
        ),
        (
            "<details>\n<summary>a</summary>\n</details>\n",
            "a.md",
            ("<details>\n<summary>a</summary>\n</details>\n",),
        ),
        ("<|thinking|>a<|/thinking|>Hi", "a.txt", ("Hi",)),
        ("<ai_thinking>a</ai_thinking>Hi", "a.txt", ("Hi",)),
        ("<think/>Hi", "a.txt", ("Hi",)),
        ("Hi <think>a</think> there", "a.txt", (RAISES,)),
        ("I cannot help with that.", "a.md", (RAISES,)),
        ("I'm unable to create files.", "a.md", (RAISES,)),
        ("As an AI language model, I cannot write files.", "a.md", (RAISES,)),
        ("Done! I have created the file.", "a.md", (RAISES,)),
        ("I've written `a.md` with the requested content.", "a.md", (RAISES,)),
        ("The file has been created successfully.", "a.md", (RAISES,)),
        ("I cannot sleep.\n", "poem.md", ("I cannot sleep.\n",)),
        ("<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "a.py", (RAISES,)),
        ("```py\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n```", "a.py", (RAISES,)),
        ("```mermaid\ngraph TD\n```\n", "d.md", ("```mermaid\ngraph TD\n```\n",)),
        (f"{PAGE}{PAGE}", "index.html", (RAISES,)),
    ],
)
def test_neighbours(answer: str, file: str, texts: tuple[str, ...]) -> None:
    assert finished(answer, file) in texts


def test_a_slot_has_no_sentence_in_front_of_it() -> None:
    text = finished("Here is the page:\n\n<h1>Tea</h1>\n", "a.html", "html-page")
    assert text == "<main>\n<h1>Tea</h1>\n</main>\n"
