// Package localfs reads a local folder for a backup with everything that the file system keeps of it, and
// restores into one without ever touching anything outside it.
//
// [Source] is the reading side. [OpenTarget] is the writing side: the engine calls a [Target] with the
// entries of a snapshot in the order of the snapshot, and fills the files through [Out].
//
// On Unix every step is one name relative to an open folder, and no link is ever followed, so that
// renames and planted links during a run cannot lead elsewhere, and depth and length of paths have no limit
// but the number of open files (one per level). On Windows the same is done with handles.
package localfs

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// Problem is what went wrong with one entry; its text holds no name.
type Problem = source.Problem

// Reasons, found with errors.Is.
const (
	// ErrName: the name or path cannot be used here.
	ErrName = source.ErrName
	// ErrKind: the thing is not, or is no longer, of the kind that was asked for.
	ErrKind = source.ErrKind
	// ErrXattrSize: an entry's extended attributes are larger than MaxXattrs in total. Those that fit were read.
	ErrXattrSize = source.Reason("the extended attributes are larger than 1 MiB in total; the rest was left out")
	// ErrNotLocal: the file's content is not on this disk but with a cloud or archive service. It is not
	// read, because that would download it.
	ErrNotLocal = source.Reason("the content is not on this disk; have the service that keeps it make it available offline")
	// ErrReparse: a reparse point of Windows that stands for something else, of a type not known here.
	ErrReparse = source.Reason("a reparse point of an unknown type")
	// ErrCollision: the target already has the entry under a name that differs, as on a file system that
	// ignores case.
	ErrCollision = source.Reason("the target cannot tell this name from that of another entry there")
	// ErrParent: the folder of the entry could not be restored.
	ErrParent = source.Reason("the folder that holds the entry could not be restored")
	// ErrInTheWay: a folder with content, which is never deleted, stands where something else belongs.
	ErrInTheWay = source.Reason("a folder that is not empty is in the way; move it and restore again")
	// ErrKept: something exists and TargetOptions.Overwrite says to keep it.
	ErrKept = source.Reason("left as it was, as the overwrite policy says")
	// ErrSocket: sockets are not restored; the program that listens makes its own.
	ErrSocket = source.Reason("sockets are not restored; the program that listens makes its own")
	// ErrDevice: devices are restored only with TargetOptions.Devices.
	ErrDevice = source.Reason("devices are restored only when asked for")
	// ErrUnstable: the target is being changed by somebody else.
	ErrUnstable = source.Reason("somebody else keeps changing the target; stop that and restore again")
	// ErrNotKept: the file system took the attribute without an error but does not have it.
	ErrNotKept = source.Reason("the file system does not keep it, or not exactly")
	// ErrPrivilege: setuid and setgid bits are restored only to a file that has its owner and group again.
	ErrPrivilege = source.Reason("setuid and setgid were left out because the owner is not that of the snapshot")
	// ErrClosed: the Out or Target was used after its end.
	ErrClosed = source.Reason("used after it was closed")
)

// MaxXattrs is the largest total size of the names and values of one entry's extended attributes, in bytes.
const MaxXattrs = 1 << 20

func problem(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Problem{Path: path, Op: op, Err: err}
}

// asProblem leaves a Problem as it is.
func asProblem(op, name string, err error) error {
	if p, ok := err.(*Problem); ok {
		p.Path = name
		return p
	}
	return problem(op, name, err)
}

// wrongKind keeps the system's error, which says more to a person than ErrKind alone.
func wrongKind(err error) error { return fmt.Errorf("%w (%w)", ErrKind, err) }

// checkName allows what a folder can hold; everything else would be a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 || strings.IndexByte(name, '/') >= 0 {
		return ErrName
	}
	return nil
}

// extra is what a system call tells of a file and an Entry has no field for.
type extra struct {
	uid, gid   uint32
	dev, nlink uint64
	blocks     int64  // of 512 bytes
	reparse    uint32 //lint:ignore U1000 the reparse tag, used on Windows
}

// tree is what all folders of one opened source share.
type tree struct {
	owners owners
	bufs   sync.Pool // of *[bufSize]byte

	devMu   sync.Mutex
	devices []uint64                  // in the order in which they were first seen
	lastDev atomic.Pointer[devNumber] // the one seen last: nearly always the same

	noStatx, noXattrAt atomic.Bool // the kernel has no such call; see the Linux files
}

type devNumber struct {
	dev uint64
	num int
}

const bufSize = 128 << 10

func (t *tree) buffer() *[bufSize]byte {
	if b, ok := t.bufs.Get().(*[bufSize]byte); ok {
		return b
	}
	return new([bufSize]byte)
}

func (t *tree) device(dev uint64) int {
	if d := t.lastDev.Load(); d != nil && d.dev == dev {
		return d.num
	}
	t.devMu.Lock()
	defer t.devMu.Unlock()
	num := -1
	for i, d := range t.devices {
		if d == dev {
			num = i
		}
	}
	if num < 0 {
		num = len(t.devices)
		t.devices = append(t.devices, dev)
	}
	t.lastDev.Store(&devNumber{dev, num})
	return num
}

// linkGroup numbers a file of several names by its inode and its device's rank, which, unlike the device's
// own number, is the same after a restart. Up to 48 bits of inode and 32,767 devices the number is exact.
// Larger inodes, which some network and pooled file systems have, are mixed into 63 bits.
func (t *tree) linkGroup(dev, inode uint64) uint64 {
	num := uint64(t.device(dev))
	if inode < 1<<48 && num < 1<<15-1 {
		return (num+1)<<48 | inode
	}
	v := inode + (num+1)*0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31 | 1<<63
}

// owners remembers users and groups, so that entries share one Owner for each pair and names are looked
// up once.
type owners struct {
	last   atomic.Pointer[format.Owner]
	mu     sync.RWMutex
	byID   map[uint64]*format.Owner
	users  map[uint32]string
	groups map[uint32]string
}

func (o *owners) get(uid, gid uint32) *format.Owner {
	if w := o.last.Load(); w != nil && w.UID == uid && w.GID == gid {
		return w
	}
	key := uint64(uid)<<32 | uint64(gid)
	o.mu.RLock()
	w := o.byID[key]
	o.mu.RUnlock()
	if w == nil {
		w = o.lookup(key, uid, gid)
	}
	o.last.Store(w)
	return w
}

func (o *owners) lookup(key uint64, uid, gid uint32) *format.Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w := o.byID[key]; w != nil {
		return w
	}
	if o.byID == nil {
		o.byID, o.users, o.groups = map[uint64]*format.Owner{}, map[uint32]string{}, map[uint32]string{}
	}
	if _, ok := o.users[uid]; !ok {
		o.users[uid] = "" // not every number has a name
		if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			o.users[uid] = u.Username
		}
	}
	if _, ok := o.groups[gid]; !ok {
		o.groups[gid] = ""
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10)); err == nil {
			o.groups[gid] = g.Name
		}
	}
	w := &format.Owner{UID: uid, GID: gid, User: o.users[uid], Group: o.groups[gid]}
	o.byID[key] = w
	return w
}
