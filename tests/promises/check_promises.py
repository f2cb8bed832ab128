#!/usr/bin/env python3
"""Checks that each promise of the public headers has a test: promises.txt says which.

A promise is a sentence of a `///` comment with one of the words must, once, never, until. ("At once" is no "once".)
Other sentences of a `///` comment may be listed as well, and are then held to the same.
In promises.txt a header stands at the margin, below it its sentences (two spaces), and below each what shows it
(four spaces): `= name of a TEST_CASE or SECTION`, as many as it takes, or `- why it promises no behaviour of ours`.

usage: check_promises.py <include directory> <tests directory>     prints what is wrong; exit status 1 if there is anything
       check_promises.py --list <include directory>                prints the promises
"""
import re
import sys
from pathlib import Path

WORDS = re.compile(r"\b(must|once|never|until)\b", re.IGNORECASE)
AT_ONCE = re.compile(r"\bat once\b", re.IGNORECASE)
COMMENT = re.compile(r"(?:^|(?<=[\s;,{}]))///<?(?:\s|$)(.*)")
# A point, then what begins a sentence here: a capital, a digit, a quote, a bracket, or a name_like_this.
SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?]\)))\s+(?=[A-Z0-9`(\"]|[a-z]+_)")
TEST_NAME = re.compile(r"\b(?:TEST_CASE|SECTION|\w+_TEST_CASE|TEST_CASE_METHOD)\s*\(\s*(?:\w+\s*,\s*)?"
                       r'((?:"(?:[^"\\]|\\.)*"\s*)+)')
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
NOT_PUBLIC = ("core/",)


def normalised(text):
    return " ".join(text.split())


def sentences_of(text):
    """The sentences of a header's `///` comments, in order, each once."""
    blocks, block = [], []
    for line in [*text.splitlines(), ""]:
        comment = COMMENT.search(line)
        alone = comment and line.lstrip().startswith("///")
        body = comment[1].strip() if comment else ""
        # A bullet begins anew, as does a comment behind code.
        if not body or not alone or re.match(r"[-*] ", body):
            blocks.append(" ".join(block))
            block = []
        if body:
            block.append(re.sub(r"^[-*] ", "", body))
        if body and not alone:
            blocks.append(" ".join(block))
            block = []
    found = (normalised(s) for b in blocks for s in SENTENCE_END.split(b))
    return list(dict.fromkeys(s for s in found if s))


def is_promise(sentence):
    return bool(WORDS.search(AT_ONCE.sub("", sentence)))


def sentences_in(include):
    """(header, sentence) of the public headers, relative to include/muster/."""
    root = Path(include) / "muster"
    for file in sorted(root.rglob("*.hpp")):
        header = file.relative_to(root).as_posix()
        if not header.startswith(NOT_PUBLIC):
            for sentence in sentences_of(file.read_text(encoding="utf-8")):
                yield header, sentence


def tests_in(tests):
    names = set()
    for file in Path(tests).rglob("*.[ch]pp"):
        for literals in TEST_NAME.findall(file.read_text(encoding="utf-8")):
            names.add("".join(LITERAL.findall(literals)).replace('\\"', '"').replace("\\\\", "\\"))
    return names


def listed_in(text):
    """What promises.txt says: {(header, sentence): [lines that show it]}, and what is wrong with the file itself."""
    listed, wrong, header, sentence = {}, [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        indent, words = len(line) - len(line.lstrip()), normalised(line)
        if not words or words.startswith("#"):
            continue
        if indent == 0:
            header, sentence = words, None
        elif indent == 2 and header:
            sentence = (header, words)
            if sentence in listed:
                wrong.append(f"promises.txt:{number}: this sentence is listed twice: keep one")
            listed[sentence] = []
        elif indent == 4 and sentence and re.match(r"[=-] \S", words):
            listed[sentence].append(words)
        else:
            wrong.append(f"promises.txt:{number}: neither a header, nor a sentence (2 spaces), nor `= test` or `- reason` (4)")
    return listed, wrong


def check(include, tests, listing):
    """What is wrong, each as one line."""
    said, names = list(sentences_in(include)), tests_in(tests)
    listed, wrong = listed_in(listing)
    if not said:
        return [f"{include}: no public headers here"]
    for header, sentence in said:
        if is_promise(sentence) and (header, sentence) not in listed:
            wrong.append(f"muster/{header}: no test shows: {sentence}\n"
                         "  Write one, and add the sentence and its test to promises.txt; or `- reason` if it promises nothing.")
    for (header, sentence), shown_by in listed.items():
        if (header, sentence) not in said:
            wrong.append(f"promises.txt: muster/{header} no longer says: {sentence}\n"
                         "  Remove it; or, if it was reworded, see that its tests still show it and write the new words.")
        elif not shown_by:
            wrong.append(f"promises.txt: muster/{header}: nothing shows: {sentence}\n  Name a test below it, or say `- reason`.")
        for line in shown_by:
            if line.startswith("= ") and line[2:] not in names:
                wrong.append(f"promises.txt: muster/{header}: there is no test '{line[2:]}'\n"
                             f"  Name the one that now shows: {sentence}")
    return wrong


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--list":
        last = None
        for found_header, found_sentence in sentences_in(sys.argv[2]):
            if not is_promise(found_sentence):
                continue
            if found_header != last:
                print(found_header)
                last = found_header
            print(f"  {found_sentence}")
        sys.exit(0)
    problems = check(sys.argv[1], sys.argv[2], (Path(__file__).parent / "promises.txt").read_text(encoding="utf-8"))
    print("\n".join(problems) if problems else "each promise has its test")
    sys.exit(1 if problems else 0)
