"""docs/storage.md names every table, once in its list and once in its picture."""

from __future__ import annotations

import re

from service.storage.models import Base
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "storage.md").read_text()


def test_every_table_is_on_the_page_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.partition("```mermaid")[0], re.MULTILINE)
    drawn = re.findall(r"^    (\w+) \{$", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(drawn) == sorted(Base.metadata.tables)


def test_what_the_picture_says_of_a_table_is_so() -> None:
    for name, fields in re.findall(r"^    (\w+) \{\n(.*?)\n    \}$", PAGE, re.MULTILINE | re.DOTALL):
        table = Base.metadata.tables[name]
        columns = dict(re.findall(r"^ {8}\w+ (\w+)(.*)$", fields, re.MULTILINE))
        assert set(columns) <= set(table.columns.keys()), name
        keys = {column for column, more in columns.items() if "PK" in more}
        assert keys == {column.name for column in table.primary_key}, name
