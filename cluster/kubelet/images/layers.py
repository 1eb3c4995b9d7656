"""Unpacking the layers of an image into one folder, whatever their authors had in mind.

Every name is resolved inside the folder, link by link, as if the folder were the root: `..` and
absolute links of an archive stay inside. Devices are left out, since containers have a /dev of
their own. Sizes and counts are bounded. Nobody else may write in the folder meanwhile.
Whiteouts and order: OCI image specification, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

from cluster.kubelet.images.documents import BadImage

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_METADATA_SIZE_BYTES_MAX = 1 << 20
_COPY_BYTES = 1 << 20
_DISK_LEFT_BYTES = 512 << 20
_LINKS_MAX = 255
_DEPTH_MAX = 256
_XATTR = "SCHILY.xattr."
_XATTRS_KEPT = ("security.capability", "user.")

_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MALFORMED = (
    tarfile.TarError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
    RecursionError,
)
_IMPOSSIBLE = (FileNotFoundError, NotADirectoryError, FileExistsError, IsADirectoryError)


@dataclass(frozen=True)
class Bounds:
    """Of all layers of an image together, unpacked."""

    size_bytes: int = 32 << 30
    entries: int = 2_000_000


@dataclass
class Unpacked:
    """What came of it. `skipped` counts devices and names that no file system takes."""

    size_bytes: int = 0
    entries: int = 0
    skipped: int = 0


class _Member(tarfile.TarInfo):
    """A header whose extensions are bounded: the library reads them into memory as a whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and self.size > _METADATA_SIZE_BYTES_MAX:
            raise tarfile.HeaderError("an extended header is too large")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


class _Hashing(io.RawIOBase):
    """Passes a stream on and knows its digest and length."""

    def __init__(self, source: IO[bytes], size_bytes_max: int) -> None:
        self._source, self._left = source, size_bytes_max
        self._hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(_COPY_BYTES if size < 0 else size)
        self._left -= len(data)
        if self._left < 0:
            raise BadImage("the layers are larger than the bound when unpacked")
        self._hasher.update(data)
        return data

    def digest(self) -> str:
        """Of all of it: what follows the archive counts, too."""
        while self.read(_COPY_BYTES):
            pass
        return "sha256:" + self._hasher.hexdigest()


def decompressed(file: IO[bytes]) -> IO[bytes]:
    """By its first bytes, whatever its media type says. Raises BadImage for zstd."""
    head = file.read(6)
    file.seek(0)
    if head[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if head[:4] == b"\x28\xb5\x2f\xfd":
        raise BadImage("layers compressed by zstd are not supported: push the image with gzip")
    if head == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(file)
    return file


def unpack(
    layer: IO[bytes], root: str, bounds: Bounds, so_far: Unpacked, diff_id: str = ""
) -> None:
    """Lay one layer over what is in `root`. Raises BadImage, also if it is not `diff_id`."""
    try:
        # The archive's own headers and paddings come on top of what files hold.
        most = (bounds.size_bytes - so_far.size_bytes) + (bounds.entries + 1) * 2048
        stream = _Hashing(decompressed(layer), most)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member, errorlevel=2) as tar:
            _Layer(tar, root, bounds, so_far).run()
        found = stream.digest()
    except _MALFORMED as error:
        raise BadImage(f"a layer is malformed: {error}") from None
    if diff_id and found != diff_id:
        raise BadImage(f"a layer is not what the config says: {found} instead of {diff_id}")


class _Layer:
    def __init__(self, tar: tarfile.TarFile, root: str, bounds: Bounds, so_far: Unpacked) -> None:
        self._tar, self._root, self._bounds, self._so_far = tar, root, bounds, so_far
        self._own: set[str] = set()
        """Paths that this layer wrote, and the folders above them: whiteouts leave them be."""
        self._folders: list[tuple[str, tarfile.TarInfo]] = []
        self._is_root = os.geteuid() == 0

    def run(self) -> None:
        for member in self._tar:
            self._tar.members = []  # type: ignore[attr-defined]  # the library keeps them all
            self._so_far.entries += 1
            if self._so_far.entries > self._bounds.entries:
                raise BadImage(f"more than {self._bounds.entries} files")
            self._entry(member)
        for path, member in reversed(self._folders):
            if os.path.isdir(path) and not os.path.islink(path):
                self._attributes(path, member)

    def _entry(self, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():  # the root itself
                self._folders.append((self._root, member))
            return
        try:
            parent = self._parent(parts[:-1])
            if parts[-1].startswith(_WHITEOUT):
                self._whiteout(parent, parts[-1])
            else:
                self._write(member, os.path.join(parent, parts[-1]))
        except (*_IMPOSSIBLE, ValueError) as error:
            raise BadImage(f"{member.name!r} cannot be unpacked: {error}") from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise BadImage(f"{member.name!r} cannot be unpacked: {error}") from None
            raise

    def _parent(self, parts: list[str]) -> str:
        """The folder, made where it is missing; links on the way are followed inside the root."""
        folder, links = resolve(self._root, parts)
        if links > _LINKS_MAX:
            raise BadImage(f"too many links on the way to {'/'.join(parts)!r}")
        made = ""
        for part in os.path.relpath(folder, self._root).split("/"):
            made = os.path.join(made, part)
            path = os.path.join(self._root, made)
            if not os.path.isdir(path):
                if os.path.lexists(path):
                    os.unlink(path)  # a file of a lower layer where this one has a folder
                os.mkdir(path, 0o755)
        return folder

    def _whiteout(self, parent: str, name: str) -> None:
        if name == _OPAQUE:
            for each in os.listdir(parent):
                self._hide(os.path.join(parent, each))
            return
        target = name.removeprefix(_WHITEOUT)
        if target in ("", ".", "..") or "/" in target:
            raise BadImage(f"invalid whiteout {name!r}")
        if target.startswith(_WHITEOUT):
            return  # aufs' own bookkeeping
        self._hide(os.path.join(parent, target))

    def _hide(self, path: str) -> None:
        """Remove what lower layers have there, but nothing that this layer wrote."""
        if path not in self._own:
            _remove(path)
        elif os.path.isdir(path) and not os.path.islink(path):
            for each in os.listdir(path):
                self._hide(os.path.join(path, each))

    def _write(self, member: tarfile.TarInfo, path: str) -> None:
        kind = self._kind(member)
        if kind is None:
            self._so_far.skipped += 1
            return
        self._clear(path, keep_folder=member.isdir())
        kind(member, path)
        self._keep(path)
        if member.isdir():
            self._folders.append((path, member))
        elif not member.islnk():
            self._attributes(path, member)

    def _keep(self, path: str) -> None:
        while path not in self._own and path != self._root:
            self._own.add(path)
            path = os.path.dirname(path)

    def _kind(self, member: tarfile.TarInfo) -> Callable[[tarfile.TarInfo, str], None] | None:
        if member.isdir():
            return lambda _member, path: os.makedirs(path, 0o755, exist_ok=True)
        if member.isreg():
            return self._file
        if member.issym():
            return self._symbolic_link
        if member.islnk():
            return self._hard_link
        if member.type == tarfile.FIFOTYPE:
            return lambda _member, path: os.mkfifo(path, 0o600)
        return None

    def _clear(self, path: str, *, keep_folder: bool) -> None:
        """What is there gives way; a folder stays for a folder."""
        with contextlib.suppress(FileNotFoundError):
            if keep_folder and stat.S_ISDIR(os.lstat(path).st_mode):
                return
            _remove(path)

    def _file(self, member: tarfile.TarInfo, path: str) -> None:
        self._count(member.size)
        disk = os.statvfs(self._root)
        if member.size > disk.f_bavail * disk.f_frsize - _DISK_LEFT_BYTES:
            raise OSError(errno.ENOSPC, "the disk is too full for the image")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        source = self._tar.extractfile(member)
        assert source is not None
        with open(os.open(path, flags, 0o600), "wb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)

    def _count(self, size_bytes: int) -> None:
        self._so_far.size_bytes += size_bytes
        if size_bytes < 0 or self._so_far.size_bytes > self._bounds.size_bytes:
            raise BadImage(f"more than {self._bounds.size_bytes} bytes when unpacked")

    def _symbolic_link(self, member: tarfile.TarInfo, path: str) -> None:
        """Whatever it says: nothing here follows it out of the root, nor will a container."""
        if not member.linkname or len(os.fsencode(member.linkname)) >= 4096:
            raise BadImage(f"{member.name!r}: invalid link")
        os.symlink(member.linkname, path)

    def _hard_link(self, member: tarfile.TarInfo, path: str) -> None:
        parts = _parts(member.linkname)
        if not parts:
            raise BadImage(f"{member.name!r} links to the root")
        folder, _ = resolve(self._root, parts[:-1])
        source = os.path.join(folder, parts[-1])
        if os.path.isdir(source) and not os.path.islink(source):
            raise BadImage(f"{member.name!r} is a hard link to a folder")
        os.link(source, path, follow_symlinks=False)

    def _attributes(self, path: str, member: tarfile.TarInfo) -> None:
        """Owner first: a change of it clears the set-user-id bit. Without root there is none."""
        is_link = member.issym()
        if self._is_root:
            os.chown(path, _id(member.uid), _id(member.gid), follow_symlinks=False)
            self._extended(path, member)
        if not is_link:
            mode = member.mode & (0o7777 if self._is_root else 0o1777)
            os.chmod(path, mode if self._is_root else mode | (0o700 if member.isdir() else 0o600))
        with contextlib.suppress(OverflowError, OSError):
            time_s = min(max(member.mtime, 0), 2**33)
            os.utime(path, (time_s, time_s), follow_symlinks=False)

    def _extended(self, path: str, member: tarfile.TarInfo) -> None:
        for key, value in member.pax_headers.items():
            name = key.removeprefix(_XATTR)
            if key.startswith(_XATTR) and name.startswith(_XATTRS_KEPT):
                with contextlib.suppress(OSError):  # not every file system has them
                    data = value.encode("utf-8", "surrogateescape")
                    os.setxattr(path, name, data, follow_symlinks=False)


def _id(number: int) -> int:
    if not 0 <= number < 2**32 - 1:
        raise BadImage(f"invalid owner {number}")
    return number


def _parts(name: str) -> list[str]:
    """A name of an archive as parts below the root; `..` never leads above it."""
    if "\0" in name:
        raise BadImage("a name with a zero byte")
    found: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del found[-1:]
        elif part not in ("", "."):
            found.append(part)
    if len(found) > _DEPTH_MAX:
        raise BadImage(f"a path deeper than {_DEPTH_MAX} folders")
    return found


def resolve(root: str, parts: list[str]) -> tuple[str, int]:
    """Where a path leads inside `root`, all its links followed as if `root` were `/`.

    What does not exist is taken as it is written. Also the number of links that were followed;
    beyond 255 it gives up and answers with what it has.
    """
    links, done = 0, [root]
    waiting = list(reversed(parts))
    while waiting and links <= _LINKS_MAX:
        part = waiting.pop()
        if part == "..":
            done = done[: max(1, len(done) - 1)]
            continue
        path = os.path.join(done[-1], part)
        try:
            target = os.readlink(path)
        except OSError:  # no link, or not there
            done.append(path)
            continue
        links += 1
        done = done[:1] if target.startswith("/") else done
        waiting += [each for each in reversed(target.split("/")) if each not in ("", ".")]
    return done[-1], links


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
