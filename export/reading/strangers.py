"""Says what a file or folder is that is no Keras model, by its first bytes, its text, or the names inside it.

What is said goes on after the file's name: "is a PNG image, not a model". Nothing is opened but regular files.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

HEAD = 2048
"""First bytes of a file that are looked at."""

_OURS = "edgecnn exports Keras models"
_MADE_FROM = "export takes the Keras model that it was made from"
_NEEDED = "give a .keras or .h5 file or a SavedModel folder"
_WEIGHTS = "weights without architecture; load it in the code that made it and save the whole model"
_CHECKPOINT = f"a TensorFlow checkpoint: {_WEIGHTS}"
_PICKLE = "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"
_PROTOBUF = "an ONNX file or a TensorFlow graph already (a protocol buffer); export takes Keras models"
_ARCHIVE = "archive; unpack it first"
_ANSWER = "the answer of a web server{said}, not the model itself; fetch it again"
_ANNEX = "run `git annex get` on it"
_LFS = "run `git lfs pull` where it came from"

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Type of an inode, as stat tells it -> what it is, where it is neither file nor folder."""

_BYTES = (
    (rb"(\x89(H(D(F.{0,3})?)?)?|PK\x03?)\Z", "cut off after a few bytes; fetch it again"),
    (rb"\x89HDF(?!\r\n\x1a\n)|(\t|\?|\xc2\x89|\xef\xbf\xbd)HDF[\r\n]", "an HDF5 file that was changed as a text is, in "
     "its line ends or characters; fetch it again as binary"),
    (rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", f"a PyTorch file; {_OURS}"),
    (rb"HTTP/\d", "a web server's answer with its header before the file; fetch it again, without that"),
    (rb"\x80[\x02-\x05]", _PICKLE),
    # Protocols 0 and 1 have no mark: a dict, list or instance; a text; a class.
    (rb"\((dp|lp)\d+\n|\(i[\w.]+\n\w+\n|[\]}]q[\x00\x01]", _PICKLE),
    (rb"[SV][^\n]*\np\d+\n\.|X.{4}[^\x00]*q[\x00\x01]", _PICKLE),
    (rb"c[\w.]+\n\w+\n(p\d+\n|q[\x00\x01]|\()", _PICKLE),
    (rb"x[\x01\x5e\x9c\xda].*?[\x00-\x08\x80-\xff]", f"compressed with zlib, as joblib and pickle do: {_PICKLE}"),
    (rb"\]\x00\x00.{2}\xff{8}", f"compressed with LZMA, as joblib does: {_PICKLE}"),
    (rb"\x1f\x8b", f"a gzip {_ARCHIVE}"),
    (rb"BZh", f"a bzip2 {_ARCHIVE}"),
    (rb"7z\xbc\xaf", f"a 7z {_ARCHIVE}"),
    (rb"\xfd7zXZ", f"an xz {_ARCHIVE}"),
    (rb"Rar!", f"a RAR {_ARCHIVE}"),
    (rb"\x28\xb5\x2f\xfd", f"a zstd {_ARCHIVE}"),
    (rb"\x04\x22\x4d\x18", f"an LZ4 {_ARCHIVE}"),
    (rb"\x1f\x9d", f"a compress (.Z) {_ARCHIVE}"),
    (rb".{257}ustar", f"a tar {_ARCHIVE}"),
    (rb".{4}TFL3", f"a TensorFlow Lite model; {_MADE_FROM}"),
    (rb".{4}\x00{4}\{", f"a safetensors file: {_WEIGHTS}"),
    (rb"\x00\x00.\x08.\x1a\x02\x08", _CHECKPOINT),
    (rb"\x00{4}[\x01\x02]\x00{3}.\x00{3}", f"Darknet's weights, as YOLO has them; {_OURS}"),
    (rb"MATLAB ", f"a MATLAB file; {_OURS}"),
    (rb".{512}(.{512})?\x89HDF\r\n\x1a\n", "an HDF5 file behind other bytes, which Keras doesn't write; give it "
     "without those"),
    (rb"\x00{64}", "a file that begins with zeros, as a download does that was not finished; fetch it again"),
    (rb"GGUF", f"a GGUF file, as llama.cpp takes it; {_OURS}"),
    (rb"\{L\x00", f"a model of XGBoost; {_OURS}"),
    (rb"\x08\x01\x12[\x80-\xff]+[\x00-\x7f]\n[\x80-\xff]*[\x00-\x7f]\x12", "the saved_model.pb of a SavedModel; give "
     "the folder that it was in, with the variables beside it"),
    (rb"\n.{2,4}\x1a\x04root\x22", "the keras_metadata.pb of a SavedModel; give the folder that it was in"),
    (rb"\x08[\x01-\x1f][\x12\x1a\x22:B]|\n.*?[\x00-\x08\x0e-\x1a]", _PROTOBUF),
    (rb"\x93NUMPY", "a NumPy array, not a model"),
    (rb"CDF[\x01\x02\x05]", "a netCDF file, not a model"),
    (rb"\x0e\x03\x13\x01", "an HDF4 file, not a model"),
    (rb"PAR1", "a Parquet table, not a model"),
    (rb"SQLite format 3", "an SQLite database, not a model"),
    (rb"\x89PNG", "a PNG image, not a model"),
    (rb"\xff\xd8\xff", "a JPEG image, not a model"),
    (rb"GIF8", "a GIF image, not a model"),
    (rb"BM.{4}\x00\x00", "a BMP image, not a model"),
    (rb"RIFF.{4}WEBP", "a WebP image, not a model"),
    (rb".{4}ftyp", "a video (MP4), not a model"),
    (rb"%PDF", "a PDF document, not a model"),
    (rb"\{\\rtf", "an RTF document, not a model"),
    (rb"\x7fELF|MZ[\x00-\xff]\x00", "a program, not a model"),
)  # fmt: skip
"""How a file begins -> what it is."""

_POINTERS = (
    (r"version https://(git-lfs|hawser)\b", f"a Git LFS pointer, not the model itself: {_LFS}"),
    (r"<{7} [\s\S]*version https://(git-lfs|hawser)\b", "a Git LFS pointer, not the model itself, with a merge "
     "conflict in it: take one side of it (git checkout --ours or --theirs), then run `git lfs pull`"),
    (r"(\.\./|\.git)*/?annex/objects/", f"a git-annex pointer, not the model itself: {_ANNEX} where it came from"),
    (r"(\w+:.*\n)*(outs|deps):\s*\n\s*- ", "a DVC file, not the model itself: run `dvc pull` where it came from, and "
     "give the file that it names"),
)  # fmt: skip
"""How a text begins that stands for a file -> what it is."""

_TEXTS = (
    *_POINTERS,
    (r"(?:<!--|<!doctype|<(?:html|head|body|title|meta|script)\b)(?:[\s\S]*?<title>(?P<said>[^<]+))?",
     "an HTML page{said}, probably the download page and not the file; fetch the file itself"),
    (r"<\?xml(?:[\s\S]*?<Message>(?P<said>[^<]+))?", "an XML text{said}, not a model"),
    (r"(?P<said>[45]\d\d(:.*|$|.*\b(not found|denied|forbidden|error|unauthorized|requests)\b.*))", _ANSWER),
    (r"(?P<said>((entry|file|page|repository|revision) )?not found|access .*denied|access to .*restricted"
     r"|forbidden|unauthorized|too many requests|invalid (username|credentials)).*", _ANSWER),
    (r"\{(?=\s*\"(error\w*|message|detail|status\w*|code|success|timestamp)\")[\s\S]*?\"(message|error\w*|detail|reason)\""
     r"\s*:\s*\"(?P<said>(?:[^\"\\]|\\.)*)", _ANSWER),
    (r"\"?\{\s*\\?\"class_name\\?\":\s*\\?\"Tokenizer\b", "the tokenizer of a text model in JSON, not the model"),
    (r"\{\s*\"(format\": ?\"(layers|graph)-model|modelTopology)\"", f"a TensorFlow.js model; {_MADE_FROM}"),
    (r"\"?\{\s*\\?\"(backend|config|keras_version|module|name)\\?\":[\s\S]*?\"class_name|\"?\{\s*\\?\"class_name\\?\"",
     "an architecture in JSON, without weights: give the weights' file with --architecture this.json"),
    (r"\{\s*\"learner\"", f"a model of XGBoost; {_OURS}"),
    (r"\{\s*\"(cells|nbformat\w*)\"", f"a Jupyter notebook; {_OURS}, which model.save() writes"),
    (r"\{", "a JSON text, not a model"),
    (r"([\w-]+:.*\n)*class_name: ", "an architecture in YAML, without weights: give the weights' file with "
     "--architecture this.yaml"),
    (r"model_checkpoint_path:", _CHECKPOINT),
    (r"tree\nversion=", f"a model of LightGBM; {_OURS}"),
    (r"(node|layer|meta_graphs) *\{|saved_model_schema_version:", f"a graph in text (a protocol buffer); {_OURS}"),
    (r"#!|(?-i:import [\w.]+(,| as |\s*(\n|\Z))|from [\w.]+ import |def \w+\()",
     f"a program in text; {_OURS}, which model.save() writes"),
    (r"iUhERg0KGgo|UEsDB", "a model in base64; decode it (base64 -d) and give what comes out"),
)  # fmt: skip
"""How a text begins, without the white space before it -> what it is; what is found as "said" is shown there."""

_FILES = ((r".*\.data-\d{5}-of-\d{5}", _CHECKPOINT),)
"""Name of a file whose bytes say nothing -> what it is."""

_MANY = 2000
"""Names of a folder that are looked at."""

_PART = re.compile(r"saved_model\.pb(txt)?|keras_metadata\.pb|fingerprint\.pb|variables(\..*)?|assets")
"""Name of a file or folder inside a SavedModel."""

_NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((r"(.*/)?(data|constants)\.pkl",), f"is a PyTorch file; {_OURS}"),
    ((r"\[Content_Types\]\.xml",), "is an Office document, not a model"),
    ((r"(.*/)?config\.json", r"(.*/)?(tf_model\.h5|pytorch_model.*\.bin|model.*\.safetensors)"),
     f"is a model of Hugging Face's Transformers; {_OURS}"),
    ((r"(.*/)?model\.json", r".*\.bin"), f"is a TensorFlow.js model; {_MADE_FROM}"),
    ((r"config\.json", r"model\.weights\.h5"), "is a .keras archive that was unpacked; zip the files in it, without "
     "the folder itself, as model.keras, and give that"),
    ((r"(.+/)config\.json", r".+/model\.weights\.h5"), "holds a model in the folder {folder}; zip what is in that "
     "folder, without it"),
    ((r"saved_model\.pbtxt",), "is a SavedModel in text (saved_model.pbtxt); load it with TensorFlow and save it "
     "again"),
    ((r"(.*/)?saved_model\.pb(txt)?",), "is {a} around {found}; {give} the folder of that file"),
    ((r"(.*/)?[^/]+\.(keras|h5|hdf5)",), "is {a} around {found}; {give} that file"),
    ((r"(.*/)?checkpoint|.*\.(index|data-\d{5}-of-\d{5})",), f"holds {_CHECKPOINT}"),
    ((r".*\.tflite",), f"holds a TensorFlow Lite model, {{found}}; {_MADE_FROM}"),
    ((r".*\.(onnx|pt|pth|safetensors|gguf|pb|pkl|joblib)",), f"holds {{found}}; {_OURS}"),
    ((r".*\.npy",), "holds NumPy arrays ({found}), not a model"),
    ((r".*\.(zip|tar|tgz|gz|bz2|xz|7z|rar)",), "is {a} around the archive {found}; unpack that and give the "
     "model in it"),
    ((r"config\.json",), "holds an architecture without weights, so there is nothing to export"),
)  # fmt: skip
"""Names inside an archive or a folder, each of which something there has -> what it is."""


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a sentence shows it: quoted where a line end or the like is in it."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def no_file(path: Path) -> str | None:
    """What is said of a path where neither file nor folder is; None where one is."""
    try:
        kind = _SPECIAL.get(stat.S_IFMT(path.stat().st_mode))
    except OSError as e:
        if e.errno not in (errno.ENOENT, errno.ENOTDIR):
            return f"can't be read: {e.strerror}"
        if not path.is_symlink():
            return "does not exist"
        there = os.readlink(path)
        hint = f"; {_ANNEX} where it came from" if "annex/objects/" in there else ""
        return f"is a link to {shown(there)}, which does not exist{hint}"
    return None if kind is None else f"is {kind}, not a file; write what comes from it to a file and give that"


def of_file(path: Path, head: bytes) -> str:
    """What a file is that is neither HDF5 nor a zip archive.

    Args:
        path: The file.
        head: Its first HEAD bytes.
    """
    part, text = _part(path), _text(head)
    if part is not None:
        return part
    if not head or text == "":
        return "is empty; fetch or save it again"
    for pattern, what in _BYTES:
        if re.match(pattern, head, re.DOTALL):
            return f"is {_told(what)}"
    if text is not None:
        return f"is {_of_text(text)}"
    for pattern, what in _FILES:
        if re.fullmatch(pattern, path.name):
            return f"is {what}"
    return f"is neither HDF5 (.h5) nor a .keras archive (its first bytes are {head[:8]!r}); {_NEEDED}"


def pointer(head: bytes) -> str | None:
    """What is said of a file that stands for another one, as Git LFS leaves it; None for any other."""
    text = _text(head)
    return next((f"is {what}" for pattern, what in _POINTERS if text and re.match(pattern, text)), None)


def of_archive(names: Iterable[str]) -> str:
    """What a zip archive is that is no .keras model, by the names in it."""
    names = [n for n in names if not n.startswith("__MACOSX/")]
    if not names:
        return _told("is an empty zip archive")
    default = f"is a zip archive but no .keras model: it holds no config.json, only {_listed(names)}; {_NEEDED}"
    return _of_names(names, a="a zip archive", give="unpack it and give") or default


def of_folder(path: Path) -> str:
    """What a folder is that is no SavedModel, by the names in it and in its folders."""
    part = _part(path)
    if part is not None:
        return part
    if not os.access(path, os.R_OK | os.X_OK):
        return "can't be read: Permission denied"
    names = list(itertools.islice(_inside(path), _MANY))
    if not names:
        return f"is an empty folder; {_NEEDED}"
    return _of_names(names, a="a folder", give="give") or f"is a folder without saved_model.pb; {_NEEDED}"


def _part(path: Path) -> str | None:
    """What is said of a part of a SavedModel that lies in its folder."""
    if not _PART.fullmatch(path.name):
        return None
    whole = next((p for p in path.absolute().parents[:2] if (p / "saved_model.pb").is_file()), None)
    return None if whole is None else f"is a part of a SavedModel; give the folder of it, {shown(whole)}"


def _of_text(text: str) -> str:
    for pattern, what in _TEXTS:
        found = re.match(pattern, text, re.IGNORECASE)
        if found:
            said = found.groupdict().get("said")
            return _told(what).format(said="" if said is None else f" ({_brief(said)})")
    first, second = [*text.splitlines(), ""][:2]
    kind = "a table (CSV)" if any(0 < first.count(c) == second.count(c) for c in ",;\t") else "a text"
    return f"{kind} and neither HDF5 (.h5) nor a .keras archive (its first line is {_brief(first)}); {_NEEDED}"


def _told(what: str) -> str:
    """What something is with what to do about it, where that isn't said yet."""
    return what if re.search("[;:] ", what) else f"{what}; {_NEEDED}"


def _of_names(names: list[str], *, a: str, give: str) -> str | None:
    for patterns, what in _NAMES:
        found = [next((n for n in names if re.fullmatch(p, n)), None) for p in patterns]
        if found[0] is not None and None not in found:
            folder = found[0].rpartition("/")[0] + "/"
            return _told(what).format(found=shown(found[0]), folder=shown(folder), a=a, give=give)
    return None


def _inside(path: Path) -> Iterator[str]:
    """Names in a folder and then in its folders, relative to it."""
    for where, folders, files in os.walk(path):
        inner = "" if where == os.fspath(path) else f"{Path(where).name}/"
        yield from (inner + name for name in sorted(files + folders))
        if inner:
            folders.clear()


def _text(head: bytes) -> str | None:
    """What is written in a file, without the white space around it; None where its bytes are no text."""
    coding = "utf-16" if re.match(rb"\xff\xfe[^\x00]\x00|\xfe\xff\x00[^\x00]", head) else "utf-8-sig"
    text = head.decode(coding, "replace")
    # A page in another coding than UTF-8 is still mostly ASCII.
    binary = re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text) or text.count("\ufffd") * 4 > len(text)
    return None if binary else text.strip()


def _brief(text: str) -> str:
    """The start of a text, quoted, without what can't be printed."""
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _listed(names: list[str]) -> str:
    return ", ".join(shown(n) for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
