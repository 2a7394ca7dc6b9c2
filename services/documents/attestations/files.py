"""Sealed files at rest: encrypted before they leave the process, in a folder or a bucket."""

from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore

from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import Unavailable

PURPOSE = "documents/file"


class FilesUnavailable(Unavailable):
    """The store of files does not answer: nothing is sealed or shown, nothing is lost."""


class Files:
    """Puts and gets whole files by path; the path is authenticated, so a moved file does not open."""

    def __init__(self, store: ObjectStore, keys: KeyEncryption) -> None:
        self._store = store
        self._keys = keys

    @classmethod
    def in_folder(cls, folder: Path, keys: KeyEncryption) -> "Files":
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(folder), keys)

    @classmethod
    def in_memory(cls, keys: KeyEncryption) -> "Files":
        return cls(MemoryStore(), keys)

    async def put(self, path: str, content: bytes) -> None:
        """Write the whole file, or nothing; the same path again replaces it."""
        sealed = self._keys.seal(PURPOSE, content, context=path.encode())
        try:
            await obstore.put_async(self._store, path, sealed)
        except (BaseError, OSError) as error:
            raise FilesUnavailable(path) from error

    async def get(self, path: str) -> bytes:
        """Raises `FilesUnavailable`, also for a file that should be there and is not."""
        try:
            found = await obstore.get_async(self._store, path)
            sealed = bytes(await found.bytes_async())
        except (BaseError, OSError, FileNotFoundError) as error:
            raise FilesUnavailable(path) from error
        return self._keys.open(PURPOSE, sealed, context=path.encode())
