package localfs

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/windows"
)

// hasOwners says that files have a numeric owner and group, which they do not here.
const hasOwners = false

type identity struct{ uid, gid uint32 }

func currentIdentity() identity { return identity{} }

func isNotEmpty(err error) bool { return err == windows.ERROR_DIR_NOT_EMPTY }

// accessTarget is what is needed in a folder that is restored.
const accessTarget = accessFolder | windows.FILE_WRITE_ATTRIBUTES

// mayWrite opens a folder of somebody else's, in which we may only make things, without access to its attributes.
func mayWrite(open func(access uint32) (windows.Handle, error)) (windows.Handle, error) {
	h, err := open(accessTarget)
	if err == windows.ERROR_ACCESS_DENIED {
		return open(accessFolder)
	}
	return h, err
}

// dir is an open folder of the target. Every name given to it is a single one.
type dir struct{ h windows.Handle }

func openTargetDir(path string) (d *dir, created bool, err error) {
	err = os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, err
	}
	created = err == nil
	h, err := mayWrite(func(access uint32) (windows.Handle, error) { return openAt(path, access) })
	if err != nil {
		return nil, false, err
	}
	var e format.Entry
	if _, err = statHandle(h, &e); err == nil && e.Kind != format.Dir {
		err = ErrKind
	}
	if err != nil {
		windows.CloseHandle(h)
		return nil, false, err
	}
	return &dir{h}, created, nil
}

func (d *dir) close() error { return windows.CloseHandle(d.h) }

func (d *dir) stat(_ *tree, name string, e *format.Entry) (extra, error) { return statAt(d.h, name, e) }

func (d *dir) names(t *tree) (*list, error) { return readNames(context.Background(), t, d.h) }

func (d *dir) mkdir(name string, _ uint32) error {
	h, err := ntOpen(d.h, name, accessLook, windows.FILE_CREATE, windows.FILE_DIRECTORY_FILE, false)
	if err != nil {
		return err
	}
	return windows.CloseHandle(h)
}

func (d *dir) openDir(name string) (*dir, error) {
	h, err := mayWrite(func(access uint32) (windows.Handle, error) { return openFolderAt(d.h, name, access) })
	if err != nil {
		return nil, err
	}
	return &dir{h}, nil
}

func (d *dir) openPath(name string) (*dir, error) {
	h, err := openFolderAt(d.h, name, accessFolder)
	if err != nil {
		return nil, err
	}
	return &dir{h}, nil
}

// makeUsable: there are no mode bits that could shut us out.
func (d *dir) makeUsable(string) error { return windows.ERROR_ACCESS_DENIED }

func (d *dir) create(name string, _ uint32) (*handle, error) {
	h, err := ntOpen(d.h, name, accessWrite, windows.FILE_CREATE, windows.FILE_NON_DIRECTORY_FILE, false)
	if err != nil {
		return nil, err
	}
	return &handle{h}, nil
}

// openFile opens a reparse point itself, which is then not taken for a regular file.
func (d *dir) openFile(name string) (*handle, error) {
	h, err := ntOpen(d.h, name, accessWrite, windows.FILE_OPEN, windows.FILE_NON_DIRECTORY_FILE, false)
	if err != nil {
		return nil, err
	}
	var e format.Entry
	if x, err := statHandle(h, &e); err != nil || x.reparse != 0 {
		windows.CloseHandle(h)
		return nil, ErrKind
	}
	return &handle{h}, nil
}

// remove removes a name at once, even if somebody has it open, where Windows can do that.
func (d *dir) remove(name string, _ bool) error {
	h, err := ntOpen(d.h, name, windows.DELETE|windows.FILE_WRITE_ATTRIBUTES|accessLook, windows.FILE_OPEN, 0, false)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	return deleteHandle(h)
}

func deleteHandle(h windows.Handle) error {
	flags := uint32(windows.FILE_DISPOSITION_DELETE | windows.FILE_DISPOSITION_POSIX_SEMANTICS | windows.FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE)
	err := windows.SetFileInformationByHandle(h, windows.FileDispositionInfoEx, (*byte)(unsafe.Pointer(&flags)), 4)
	if err != windows.ERROR_INVALID_PARAMETER && err != windows.ERROR_NOT_SUPPORTED && err != windows.ERROR_INVALID_FUNCTION {
		return err
	}
	// Windows before 10, and FAT.
	if err := setBasic(h, &basicInfo{attributes: windows.FILE_ATTRIBUTE_NORMAL}); err != nil {
		return err
	}
	yes := byte(1)
	return windows.SetFileInformationByHandle(h, windows.FileDispositionInfo, &yes, 1)
}

func (d *dir) removeSame(_ *tree, name string, inode, dev uint64) error {
	var now format.Entry
	x, err := statAt(d.h, name, &now)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (now.Inode != inode || x.dev != dev) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.remove(name, false)
}

// symlink makes an empty file or folder and turns it into a link.
func (d *dir) symlink(target, name string, attributes uint32) error {
	data, ok := linkData(target)
	if !ok {
		return windows.ERROR_FILENAME_EXCED_RANGE
	}
	option := uint32(windows.FILE_NON_DIRECTORY_FILE)
	if attributes&attrDirectory != 0 {
		option = windows.FILE_DIRECTORY_FILE
	}
	h, err := ntOpen(d.h, name, windows.DELETE|windows.FILE_WRITE_DATA|windows.FILE_WRITE_ATTRIBUTES|accessLook, windows.FILE_CREATE, option, false)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	err = withPrivilege("SeCreateSymbolicLinkPrivilege", func() error {
		var n uint32
		return windows.DeviceIoControl(h, windows.FSCTL_SET_REPARSE_POINT, &data[0], uint32(len(data)), nil, 0, &n, nil)
	})
	if err != nil {
		_ = deleteHandle(h) // the error of the link is the one to tell
	}
	return err
}

// withPrivilege has do run with a privilege that the user owns but that is not switched on, in this thread only.
// Without it, do fails by itself.
func withPrivilege(name string, do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if windows.ImpersonateSelf(windows.SecurityImpersonation) != nil {
		return do()
	}
	defer windows.RevertToSelf()
	var token windows.Token
	if windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY|windows.TOKEN_ADJUST_PRIVILEGES, false, &token) != nil {
		return do()
	}
	defer token.Close()
	privileges := windows.Tokenprivileges{PrivilegeCount: 1}
	p, err := windows.UTF16PtrFromString(name)
	if err != nil || windows.LookupPrivilegeValue(nil, p, &privileges.Privileges[0].Luid) != nil {
		return do()
	}
	privileges.Privileges[0].Attributes = windows.SE_PRIVILEGE_ENABLED
	_ = windows.AdjustTokenPrivileges(token, false, &privileges, 0, nil, nil)
	return do()
}

func (d *dir) link(from *dir, old, name string) error {
	h, err := ntOpen(from.h, old, windows.FILE_WRITE_ATTRIBUTES|accessLook, windows.FILE_OPEN, 0, false)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	// FILE_LINK_INFORMATION: replace, folder, length, name; the folder is aligned like a pointer. Windows refuses
	// less than a whole structure, which a name of one letter would not fill.
	const word = unsafe.Sizeof(uintptr(0))
	text := encodeUTF16(name)
	buf := make([]uintptr, (2*word+4+uintptr(len(text)))/word+1)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&buf[0])), len(buf)*int(word))
	buf[1] = uintptr(d.h)
	binary.LittleEndian.PutUint32(b[2*word:], uint32(len(text)))
	copy(b[2*word+4:], text)
	const fileLinkInformation = 11
	var status windows.IO_STATUS_BLOCK
	return ntError(windows.NtSetInformationFile(h, &status, &b[0], uint32(len(b)), fileLinkInformation))
}

// special: Windows has no FIFOs and devices in folders.
func (d *dir) special(string, format.Kind, uint64) error { return errors.ErrUnsupported }

// The ACLs of Windows are not restored: what is made inherits those of its folder.
func (d *dir) hasDefaultACL() bool { return false }
func (d *dir) dropACLs() error     { return nil }

// handle is an open file of the target.
type handle struct{ h windows.Handle }

func (h *handle) close() error { return windows.CloseHandle(h.h) }

func (h *handle) stat(_ *tree, e *format.Entry) (extra, error) { return statHandle(h.h, e) }

func (h *handle) readAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := readHandle(h.h, p[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (h *handle) writeAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		var m uint32
		o := windows.Overlapped{Offset: uint32(at), OffsetHigh: uint32(at >> 32)}
		if err := windows.WriteFile(h.h, p[n:min(len(p), n+1<<30)], &m, &o); err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrShortWrite
		}
		n += int(m)
	}
	return n, nil
}

func (h *handle) truncate(size int64) error { return windows.Ftruncate(h.h, size) }

// sparse marks the file, without which Windows fills every gap. Not every file system can.
func (h *handle) sparse() {
	var n uint32
	_ = windows.DeviceIoControl(h.h, windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
}

// punch makes zeros, and frees their space in a sparse file.
func (h *handle) punch(off, n int64) error {
	h.sparse()
	span := [2]int64{off, off + n}
	var got uint32
	return windows.DeviceIoControl(h.h, windows.FSCTL_SET_ZERO_DATA, (*byte)(unsafe.Pointer(&span)), uint32(unsafe.Sizeof(span)), nil, 0, &got, nil)
}

// node is a file, folder or link whose attributes are set, by handle.
type node struct{ h windows.Handle }

func (d *dir) node() node    { return node{d.h} }
func (h *handle) node() node { return node{h.h} }

func (n *node) at(*dir, string) {}

func (d *dir) openNode(name string, _ format.Kind) (node, error) {
	h, err := ntOpen(d.h, name, windows.FILE_WRITE_ATTRIBUTES|accessLook, windows.FILE_OPEN, 0, false)
	return node{h}, err
}

func (n node) close() error { return windows.CloseHandle(n.h) }

func (n node) stat(_ *tree, e *format.Entry) (extra, error) { return statHandle(n.h, e) }

func (n node) chown(int, int) error { return errors.ErrUnsupported }

// chmod knows one bit: without the owner's right to write, a file is read-only.
func (n node) chmod(mode uint32) error {
	var e format.Entry
	if _, err := statHandle(n.h, &e); err != nil || e.Kind != format.File {
		return err
	}
	a := e.Attributes & attrSettable &^ attrReadOnly
	if mode&0o200 == 0 {
		a |= attrReadOnly
	}
	return setBasic(n.h, &basicInfo{attributes: orNormal(a)})
}

// orNormal: a zero would mean to leave the attributes as they are.
func orNormal(a uint32) uint32 {
	if a == 0 {
		return windows.FILE_ATTRIBUTE_NORMAL
	}
	return a
}

// setAttributes sets what can be set, and says so if the entry was compressed or encrypted by the file system.
func (n node) setAttributes(e *format.Entry) error {
	if e.Attributes == 0 {
		return nil
	}
	if e.Kind == format.File || e.Attributes&attrSettable&^attrReadOnly != 0 {
		if err := setBasic(n.h, &basicInfo{attributes: orNormal(e.Attributes & attrSettable)}); err != nil {
			return err
		}
	}
	if e.Attributes&(attrCompress|attrEncrypted) != 0 {
		return ErrNotKept
	}
	return nil
}

func (n node) setTimes(mod, birth format.Time) error {
	written, ok := toTicks(mod)
	if !ok {
		return windows.ERROR_INVALID_PARAMETER
	}
	created := int64(0)
	if birth != (format.Time{}) {
		if created, ok = toTicks(birth); !ok {
			created = 0
		}
	}
	// Zero attributes would mean to leave them, which Wine takes for clearing them.
	var now basicInfo
	if err := getBasic(n.h, &now); err != nil {
		return err
	}
	return setBasic(n.h, &basicInfo{created: created, written: written, attributes: now.attributes & attrSettable})
}

func (n node) xattrs(*tree) ([]format.Xattr, error) { return nil, nil }
func (n node) setXattr(string, []byte) error        { return errors.ErrUnsupported }
func (n node) removeXattr(string) error             { return errors.ErrUnsupported }

// sameBirth: birth times are set too, where they were recorded.
func sameBirth(e, now *format.Entry) bool {
	return e.BirthTime == (format.Time{}) || keptTime(e.BirthTime) == now.BirthTime
}

// keptMode is what Windows has of a mode: whether a file may be written. The rest means nothing here, so
// that it is not kept is no loss.
func keptMode(e *format.Entry) uint32 {
	switch {
	case e.Kind == format.Dir:
		return 0o755
	case e.Mode&0o200 == 0:
		return 0o444
	}
	return 0o644
}

// keptTime is the time in the steps of the clock of Windows.
func keptTime(t format.Time) format.Time {
	t.Nsec -= t.Nsec % 100
	return t
}
