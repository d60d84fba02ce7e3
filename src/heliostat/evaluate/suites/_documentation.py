"""Question and answer pairs that every Python carries: the documentation of its standard library.

The first sentence of a docstring is the query, the rest of it the passage. Sources are parsed and never imported, so
nothing runs, and the pairs are the same on every machine with the same Python version.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

MODULES = tuple(
    """
    argparse ast asyncio/events asyncio/locks asyncio/queues asyncio/streams asyncio/tasks base64 bdb bisect calendar cmd code codecs
    collections/__init__ concurrent/futures/_base configparser contextlib copy csv dataclasses datetime difflib dis doctest email/charset
    email/header email/message email/utils enum filecmp fileinput fnmatch fractions ftplib functools getopt getpass gettext glob gzip
    hashlib heapq hmac html/__init__ html/parser http/client http/cookiejar http/cookies http/server imaplib importlib/abc inspect
    ipaddress json/__init__ json/decoder json/encoder linecache locale logging/__init__ logging/config logging/handlers mailbox
    mimetypes multiprocessing/managers multiprocessing/pool netrc nntplib numbers opcode operator optparse os pathlib pdb pickle
    pickletools pkgutil platform plistlib poplib posixpath pprint profile pstats pyclbr queue quopri random re/__init__ reprlib
    rlcompleter sched secrets selectors shelve shlex shutil smtplib socket socketserver ssl statistics string subprocess symtable
    sysconfig tarfile tempfile textwrap threading timeit token tokenize trace traceback tracemalloc types typing unittest/case
    unittest/loader unittest/mock unittest/suite urllib/error urllib/parse urllib/request urllib/robotparser uuid warnings wave weakref
    xml/dom/minidom xml/etree/ElementTree xml/sax/handler xmlrpc/client zipfile zipimport zoneinfo/_tzpath
    """.split()
)
QUERY_WORDS = range(5, 41)
PASSAGE_WORDS = range(12, 400)
MARKUP = re.compile(r">>>|->|^\s*(Args|Arguments|Parameters|Returns|Raises)\s*:", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[a-z\)\]'\"`])\.(?=\s)|\n\s*\n")


@lru_cache(maxsize=1)
def documentation() -> tuple[tuple[str, str], ...]:
    """Every (query, passage) pair, in the order of `MODULES` and of each source; no text occurs twice."""
    library = Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    pairs: list[tuple[str, str]] = []
    for module in MODULES:
        source = library / f"{module}.py"
        if not source.is_file():  # another Python version has other modules
            continue
        for text in docstrings(source.read_text(encoding="utf-8")):
            pair = divide(text)
            if pair and not seen & set(pair):
                seen.update(pair)
                pairs.append(pair)
    return tuple(pairs)


def has_sources() -> bool:
    """Whether this Python carries its library as source files (an embedded or zipped one may not)."""
    return (Path(sysconfig.get_path("stdlib")) / f"{MODULES[0]}.py").is_file()


def docstrings(source: str) -> Iterator[str]:
    """The docstring of every public class and function, outer before inner, in the order of the source."""
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            text = ast.get_docstring(node)
            if text:
                yield text
        if isinstance(node, ast.Module | ast.ClassDef):
            todo += reversed(node.body)


def divide(text: str) -> tuple[str, str] | None:
    """(first sentence, the rest) of a docstring, in plain words; None when either is too short, too long or code."""
    first, rest = [*SENTENCE_END.split(text.strip(), maxsplit=1), ""][:2]
    if MARKUP.search(first):
        return None
    query, passage = " ".join(first.split()), " ".join(rest.split())
    fits = len(query.split()) in QUERY_WORDS and len(passage.split()) in PASSAGE_WORDS
    return (query, passage) if fits else None
