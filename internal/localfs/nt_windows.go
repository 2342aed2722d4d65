package localfs

import (
	"context"
	"encoding/binary"
	"strings"
	"syscall"
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/windows"
)

// Access that the operations need. Every handle is opened so that others may read, write, rename and delete.
const (
	accessLook   = windows.FILE_READ_ATTRIBUTES | windows.SYNCHRONIZE
	accessRead   = windows.FILE_READ_DATA | accessLook
	accessWrite  = windows.FILE_WRITE_DATA | windows.FILE_WRITE_ATTRIBUTES | accessRead
	accessFolder = windows.FILE_LIST_DIRECTORY | windows.FILE_TRAVERSE | accessLook
	shareAll     = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
)

// ntOpen opens or makes one name in an open folder. A reparse point is opened itself, unless follow says
// that what it stores is wanted, as with files kept compressed or deduplicated.
func ntOpen(dir windows.Handle, name string, access, disposition, options uint32, follow bool) (windows.Handle, error) {
	if strings.ContainsAny(name, "/\\\x00") || name == "" || name == "." || name == ".." {
		return 0, ErrName
	}
	text, err := windows.NewNTUnicodeString(name)
	if err != nil {
		return 0, ErrName
	}
	oa := windows.OBJECT_ATTRIBUTES{RootDirectory: dir, ObjectName: text, Attributes: windows.OBJ_CASE_INSENSITIVE}
	oa.Length = uint32(unsafe.Sizeof(oa))
	options |= windows.FILE_SYNCHRONOUS_IO_NONALERT | windows.FILE_OPEN_FOR_BACKUP_INTENT
	if !follow {
		options |= windows.FILE_OPEN_REPARSE_POINT
	}
	var h windows.Handle
	var status windows.IO_STATUS_BLOCK
	err = windows.NtCreateFile(&h, access, &oa, &status, nil, windows.FILE_ATTRIBUTE_NORMAL, shareAll, disposition, options, 0, 0)
	return h, ntError(err)
}

func ntError(err error) error {
	s, ok := err.(windows.NTStatus)
	if !ok {
		return err
	}
	switch s {
	case windows.STATUS_OBJECT_NAME_COLLISION:
		return windows.ERROR_ALREADY_EXISTS
	case windows.STATUS_NOT_A_DIRECTORY, windows.STATUS_FILE_IS_A_DIRECTORY:
		return wrongKind(s.Errno())
	}
	return s.Errno()
}

// openAt opens a folder by path, of any length.
func openAt(path string, access uint32) (windows.Handle, error) {
	full, err := syscall.FullPath(path)
	if err != nil {
		return 0, err
	}
	switch {
	case strings.HasPrefix(full, `\\?\`), strings.HasPrefix(full, `\\.\`):
	case strings.HasPrefix(full, `\\`):
		full = `\\?\UNC\` + full[2:]
	default:
		full = `\\?\` + full
	}
	p, err := windows.UTF16PtrFromString(full)
	if err != nil {
		return 0, ErrName
	}
	return windows.CreateFile(p, access, shareAll, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
}

// basicInfo is FILE_BASIC_INFO; times are in 100 ns since 1601.
type basicInfo struct {
	created, accessed, written, changed int64
	attributes                          uint32
	_                                   uint32
}

func getBasic(h windows.Handle, info *basicInfo) error {
	return windows.GetFileInformationByHandleEx(h, windows.FileBasicInfo, (*byte)(unsafe.Pointer(info)), uint32(unsafe.Sizeof(*info)))
}

func setBasic(h windows.Handle, info *basicInfo) error {
	return windows.SetFileInformationByHandle(h, windows.FileBasicInfo, (*byte)(unsafe.Pointer(info)), uint32(unsafe.Sizeof(*info)))
}

// windowsEpoch is 1970 in the clock of Windows, in seconds.
const windowsEpoch = 11644473600

func fromTicks(ticks int64) format.Time {
	if ticks == 0 {
		return format.Time{}
	}
	sec, rest := ticks/1e7, ticks%1e7
	if rest < 0 { // which a damaged volume may hold
		sec, rest = sec-1, rest+1e7
	}
	return format.Time{Sec: sec - windowsEpoch, Nsec: uint32(rest * 100)}
}

// toTicks refuses what the clock of Windows cannot hold; 0 would mean "leave it".
func toTicks(t format.Time) (int64, bool) {
	if t.Sec < -windowsEpoch+1 || t.Sec > 9e11-windowsEpoch {
		return 0, false
	}
	return (t.Sec+windowsEpoch)*1e7 + int64(t.Nsec)/100, true
}

// statHandle sets all fields of e but Path, Owner, LinkGroup, Xattrs and Content, which it clears. Windows
// has no permission bits: files have 0644, or 0444 if read-only, and folders 0755.
func statHandle(h windows.Handle, e *format.Entry) (extra, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return extra{}, err
	}
	var basic basicInfo
	if err := getBasic(h, &basic); err != nil {
		return extra{}, err
	}
	*e = format.Entry{
		Kind: format.File, Mode: 0o644, Attributes: info.FileAttributes,
		ModTime: fromTicks(basic.written), ChangeTime: fromTicks(basic.changed), BirthTime: fromTicks(basic.created),
		Inode: uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow),
	}
	x := extra{dev: uint64(info.VolumeSerialNumber), nlink: uint64(info.NumberOfLinks)}
	if info.FileAttributes&attrReadOnly != 0 {
		e.Mode = 0o444
	}
	if info.FileAttributes&attrDirectory != 0 {
		e.Kind, e.Mode = format.Dir, 0o755
	}
	if info.FileAttributes&attrReparse != 0 {
		if err := reparse(h, e, &x); err != nil {
			return x, err
		}
	}
	if e.Kind == format.File {
		e.Size = int64(info.FileSizeHigh)<<32 | int64(info.FileSizeLow)
	}
	return x, nil
}

// reparse fills in what a reparse point stands for. Those that merely store the same file in another way leave
// its kind.
func reparse(h windows.Handle, e *format.Entry, x *extra) error {
	var tag struct{ attributes, tag uint32 }
	if err := windows.GetFileInformationByHandleEx(h, windows.FileAttributeTagInfo, (*byte)(unsafe.Pointer(&tag)), uint32(unsafe.Sizeof(tag))); err != nil {
		return err
	}
	x.reparse = tag.tag
	switch {
	case tag.tag == tagSymlink || tag.tag == tagJunction:
		buf := make([]byte, windows.MAXIMUM_REPARSE_DATA_BUFFER_SIZE)
		var n uint32
		if err := windows.DeviceIoControl(h, windows.FSCTL_GET_REPARSE_POINT, nil, 0, &buf[0], uint32(len(buf)), &n, nil); err != nil {
			return err
		}
		target, ok := linkTarget(buf[:n])
		if !ok {
			return ErrReparse
		}
		e.Kind, e.Mode, e.Target = format.Symlink, 0o777, target
	case tag.tag == tagSocket:
		e.Kind = format.Socket
	case tag.tag&tagSurrogate != 0:
		return ErrReparse
	}
	return nil
}

// statAt describes name in dir, or dir itself if name is empty.
func statAt(dir windows.Handle, name string, e *format.Entry) (extra, error) {
	if name == "" {
		return statHandle(dir, e)
	}
	h, err := ntOpen(dir, name, accessLook, windows.FILE_OPEN, 0, false)
	if err != nil {
		return extra{}, err
	}
	defer windows.CloseHandle(h)
	return statHandle(h, e)
}

// openFolderAt opens a real folder; a link to one is ErrKind.
func openFolderAt(dir windows.Handle, name string, access uint32) (windows.Handle, error) {
	h, err := ntOpen(dir, name, access, windows.FILE_OPEN, windows.FILE_DIRECTORY_FILE, false)
	if err != nil {
		return 0, err
	}
	var e format.Entry
	if _, err = statHandle(h, &e); err == nil && e.Kind != format.Dir {
		err = ErrKind
	}
	if err != nil {
		windows.CloseHandle(h)
		return 0, err
	}
	return h, nil
}

// The layout of FILE_FULL_DIR_INFO.
const (
	dirInfoNameLen = 60
	dirInfoName    = 68
)

// readNames reads the folder h from its beginning.
func readNames(ctx context.Context, t *tree, h windows.Handle) (*list, error) {
	buf := t.buffer()
	defer t.bufs.Put(buf)
	l := new(list)
	for class := uint32(windows.FileFullDirectoryRestartInfo); ; class = windows.FileFullDirectoryInfo {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := windows.GetFileInformationByHandleEx(h, class, &buf[0], uint32(len(buf)))
		if err == windows.ERROR_NO_MORE_FILES || err == windows.ERROR_FILE_NOT_FOUND {
			l.sort()
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		l.addStrings(dirInfoNames(buf[:]))
	}
}

func dirInfoNames(b []byte) []string {
	var names []string
	for len(b) >= dirInfoName {
		next := binary.LittleEndian.Uint32(b)
		n := binary.LittleEndian.Uint32(b[dirInfoNameLen:])
		if int64(n) > int64(len(b)-dirInfoName) {
			break
		}
		if name := decodeUTF16(b[dirInfoName : dirInfoName+n]); name != "." && name != ".." {
			names = append(names, name)
		}
		if next == 0 || int64(next) > int64(len(b)) {
			break
		}
		b = b[next:]
	}
	return names
}
