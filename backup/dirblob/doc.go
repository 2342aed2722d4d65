// Package dirblob is a durable gocloud.dev/blob driver for a local folder: a
// disk, a NAS share or a USB drive.
//
// It differs from gocloud's fileblob in three promises.
//
//   - Durable. When Close of a writer returns nil, the object survives a power
//     cut: the file was flushed before it got its name, and then the folder
//     that holds the name, and every folder above it whose own entry was not
//     yet known to be on the disk. [Info] says where a file system cannot do this.
//   - Whole. An object appears under its key in one step, with all its bytes and
//     all its attributes, or not at all.
//   - Exclusive. blob.WriterOptions.IfNotExist has exactly one winner among any
//     number of goroutines, processes and hosts that share the folder, as long
//     as [Info.ExclusiveCreate] is true.
//
// # Layout
//
// One key is one file; the segments of the key between slashes are folders. The
// letters a-z, the digits, "_", "-" and inner dots stand for themselves, so a
// repository made of lower-case hexadecimal keys looks the same on disk, on S3
// and after a copy with any tool. Every other byte is written as % and two hexadecimal
// digits. This includes upper-case letters and everything outside ASCII, because
// Windows, macOS and FAT treat names that differ only in case or Unicode
// normalisation as one. Names that Windows reserves (con, nul, com1 and so on)
// have their first letter escaped; an empty segment is written as a single %.
//
// Two limits follow. A key cannot be the folder of another key ("a" and "a/b"):
// whichever comes second fails with gcerrors.InvalidArgument. So does a segment
// longer than 255 bytes after escaping.
//
// Files that no key maps to (names with a leading dot, with upper-case letters
// and so on) are ignored. The folder .tmp below the root holds unfinished writes.
// Leftovers of crashed processes are removed from it when a bucket is opened, once
// they are a day old.
//
// # Attributes
//
// An object whose attributes are all default (content type empty or
// application/octet-stream, nothing else) is exactly its bytes. Otherwise the attributes follow the
// bytes, in the same file, as a trailer. The trailer is padded so that the length of the file
// leaves the remainder 347 when divided by 512: any other length proves that there is none,
// which keeps Attributes of a plain object at one stat and reading it at one open.
// There is no second file that could be lost, or be seen too early. No MD5 is stored.
//
// # Errors
//
// Codes are NotFound, FailedPrecondition (IfNotExist met an object), InvalidArgument,
// ResourceExhausted (the volume or a quota is full), PermissionDenied (also a
// read-only volume) and Unimplemented (signed URLs). Bucket.ErrorAs, and errors.As,
// give the *fs.PathError with the path; the text of an error never holds it. A drive
// that was unplugged or a share that was unmounted is an error of code Unknown, never "not found".
//
// When Close fails after the object got its name, because flushing the folder
// failed, the object stays visible: write it again, or compare what is there and
// have it flushed, see [Flusher].
//
// # Platforms
//
// Linux publishes with renameat2(RENAME_NOREPLACE), macOS with renamex_np(RENAME_EXCL);
// both fall back to link(2). Windows uses MoveFileEx with MOVEFILE_WRITE_THROUGH and
// has no call that flushes a folder; there a deletion may be undone by a power
// cut, and an object that is being read can be neither replaced nor deleted.
//
// A bucket keeps some folders open to know that they were not replaced behind
// its back. Close it before you unmount the drive.
package dirblob
