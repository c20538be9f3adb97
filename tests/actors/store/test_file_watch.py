"""A file that is half way through a checkpoint is not another file."""

from __future__ import annotations

import os
from pathlib import Path

from actors.store.file_watch import FileWatch
from actors.store.store import Store


def test_a_file_that_lacks_pages_until_its_checkpoint_goes_on_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "familiar.db"
    store = Store.open(f"sqlite:///{path}", create=True)
    store.take_epoch()
    store_id = store.store_id
    store.close()
    watch = FileWatch(path, store_id)
    # The first page is written and tells of pages that are in the log only.
    os.truncate(path, os.path.getsize(path) // 2)
    watch.check(0)
    FileWatch(path, store_id)
