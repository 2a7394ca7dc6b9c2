"""Sealed files at rest: encrypted before they leave the process, in a folder or a bucket."""

import asyncio
import os
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore

from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from libs.common.refusals import Unavailable

PURPOSE = "documents/file"


class FilesUnavailable(Unavailable):
    """The store of files does not answer: nothing is sealed or shown, nothing is lost."""


class FileLost(FilesUnavailable):
    """The store answers, and has not the file, or not whole: a disk, a backup or a hand took it."""


class Files:
    """Puts and gets whole files by path; the path is authenticated, so a moved file does not open."""

    def __init__(self, store: ObjectStore, keys: KeyEncryption, *, folder: Path | None = None) -> None:
        self._store = store
        self._keys = keys
        self._folder = folder

    @classmethod
    def in_folder(cls, folder: Path, keys: KeyEncryption) -> "Files":
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(folder), keys, folder=folder)

    @classmethod
    def in_memory(cls, keys: KeyEncryption) -> "Files":
        return cls(MemoryStore(), keys)

    async def put(self, path: str, content: bytes) -> None:
        """Write the whole file, or nothing; the same path again replaces it. It outlives the power from then on."""
        sealed = self._keys.seal(PURPOSE, content, context=path.encode())
        try:
            await obstore.put_async(self._store, path, sealed)
            if self._folder is not None:
                await asyncio.to_thread(_reach_the_disk, self._folder, path)
        except (BaseError, OSError) as error:
            raise FilesUnavailable(path) from error

    async def get(self, path: str) -> bytes:
        """Raises `FilesUnavailable`, and `FileLost` for a file that should be there and is not."""
        try:
            found = await obstore.get_async(self._store, path)
            sealed = bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise FileLost(path) from error
        except (BaseError, OSError) as error:
            raise FilesUnavailable(path) from error
        try:
            return self._keys.open(PURPOSE, sealed, context=path.encode())
        except SealBroken as error:
            raise FileLost(path) from error


def _reach_the_disk(folder: Path, path: str) -> None:
    """obstore leaves a file, and its name, in the system's cache: the row that names it would outlive them."""
    kept = folder / path
    above = kept.parents[: len(Path(path).parts)]
    for one in (kept, *above):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
