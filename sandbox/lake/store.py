"""Where the lake's objects lie: a local directory or any S3 server, behind one small interface.

A key is a relative path such as `tables/tax_summary/current`. An object appears whole or not at
all, and a later `put` replaces it; readers never see a mixture.
"""

import io
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from minio import Minio
from minio.error import S3Error
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from sandbox.lake.errors import LakeError

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class MissingObjectError(LakeError):
    """A key that holds nothing."""

    def __init__(self, key: str) -> None:
        """Name the key."""
        self.key = key
        super().__init__(f"The lake's store holds no object {key}.")


class Store(Protocol):
    """Objects by key. All methods raise `MissingObjectError` for a key that holds nothing."""

    def put(self, key: str, path: Path) -> None:
        """Store a file's contents under a key."""
        ...

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store small contents under a key."""
        ...

    def get(self, key: str, path: Path) -> None:
        """Write an object's contents to a file."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Return an object's contents."""
        ...

    def exists(self, key: str) -> bool:
        """Whether a key holds an object."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return all keys that begin with a prefix, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; a key that holds nothing is left so."""
        ...


class LocalStore:
    """Objects as files of one directory that only its owner may enter."""

    def __init__(self, root: Path) -> None:
        """Use a directory, making it if needed."""
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, key: str, path: Path) -> None:
        """Store a file's contents under a key."""
        self._replace(key, lambda draft: shutil.copyfile(path, draft))

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store small contents under a key."""
        self._replace(key, lambda draft: draft.write_bytes(data))

    def get(self, key: str, path: Path) -> None:
        """Write an object's contents to a file."""
        try:
            shutil.copyfile(self._path(key), path)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingObjectError(key) from error

    def get_bytes(self, key: str) -> bytes:
        """Return an object's contents."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingObjectError(key) from error

    def exists(self, key: str) -> bool:
        """Whether a key holds an object."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        """Return all keys that begin with a prefix, sorted."""
        folder = self.root / prefix.rpartition("/")[0]
        found = (
            path.relative_to(self.root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove an object; a key that holds nothing is left so."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)

    def _replace(self, key: str, write: Callable[[Path], object]) -> None:
        """Write beside the object, reach the disk, then rename: whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            write(draft)
            _sync(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)


class S3Store:
    """Objects of one bucket of an S3 server."""

    def __init__(self, client: Minio, bucket: str) -> None:
        """Use a bucket, making it if needed."""
        self._client, self._bucket = client, bucket
        with _talking(bucket):
            if not client.bucket_exists(bucket_name=bucket):
                client.make_bucket(bucket_name=bucket)

    def put(self, key: str, path: Path) -> None:
        """Store a file's contents under a key."""
        with _talking(_checked(key)):
            self._client.fput_object(self._bucket, key, str(path))

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store small contents under a key."""
        with _talking(_checked(key)):
            self._client.put_object(self._bucket, key, io.BytesIO(data), len(data))

    def get(self, key: str, path: Path) -> None:
        """Write an object's contents to a file."""
        with _talking(_checked(key)):
            self._client.fget_object(self._bucket, key, str(path))

    def get_bytes(self, key: str) -> bytes:
        """Return an object's contents."""
        with _talking(_checked(key)):
            response = self._client.get_object(self._bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def exists(self, key: str) -> bool:
        """Whether a key holds an object."""
        try:
            with _talking(_checked(key)):
                self._client.stat_object(self._bucket, key)
        except MissingObjectError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """Return all keys that begin with a prefix, sorted."""
        with _talking(prefix):
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            return sorted(str(item.object_name) for item in found)

    def delete(self, key: str) -> None:
        """Remove an object; a key that holds nothing is left so."""
        with _talking(_checked(key)):
            self._client.remove_object(self._bucket, key)


def open_store(url: str, settings: Mapping[str, str] | None = None, *, retries: int = 5) -> Store:
    """Return the store of a URL: `file:///directory` or `s3://bucket`.

    For S3 the settings (by default the process's environment) say where: `LAB_S3_ENDPOINT` (such as
    `http://127.0.0.1:8333`), `LAB_S3_ACCESS_KEY`, `LAB_S3_SECRET_KEY`, `LAB_S3_REGION`.
    A request that fails is repeated `retries` times.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and parts.path in ("", "/"):
        known = os.environ if settings is None else settings
        endpoint = urlsplit(known.get("LAB_S3_ENDPOINT", "https://s3.amazonaws.com"))
        if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
            raise LakeError("LAB_S3_ENDPOINT must be a URL such as http://127.0.0.1:8333.")
        client = Minio(
            endpoint=endpoint.netloc,
            access_key=known.get("LAB_S3_ACCESS_KEY"),
            secret_key=known.get("LAB_S3_SECRET_KEY"),
            region=known.get("LAB_S3_REGION", "us-east-1"),
            secure=endpoint.scheme == "https",
            http_client=PoolManager(
                timeout=Timeout(connect=10, read=300),
                maxsize=10,
                retries=Retry(
                    total=retries, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]
                ),
            ),
        )
        return S3Store(client, parts.netloc)
    raise LakeError(f"{url} names no store. Give file:///DIRECTORY or s3://BUCKET.")


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no object key: it must be a plain relative path")
    return key


@contextmanager
def _talking(key: str) -> Iterator[None]:
    """Say a server's failure in the lake's words."""
    try:
        yield
    except S3Error as error:
        if error.code in ("NoSuchKey", "NoSuchObject"):
            raise MissingObjectError(key) from error
        raise LakeError(
            f"The object store answered {error.code}. Check LAB_S3_ACCESS_KEY, LAB_S3_SECRET_KEY "
            "and the bucket's rights."
        ) from error
    except HTTPError as error:
        raise LakeError(
            "The object store does not answer. Check LAB_S3_ENDPOINT and that it runs."
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
