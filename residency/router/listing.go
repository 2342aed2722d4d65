package router

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// pageSize is the length of a page if nobody asks for one.
const pageSize = 1000

// place in a listing: the last key given, and by site the token of the page that holds the next.
type pageToken struct {
	Last  string            `json:"last"`
	Sites map[string][]byte `json:"sites,omitempty"`
}

// ListPaged implements driver.Bucket. It is the home site's listing. While that is down it is the union of the others',
// if these are enough that no object whose write was reported can be missing.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(noAs); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(opts.Prefix, reserved) {
		return &driver.ListPage{}, nil
	}
	token := pageToken{Sites: map[string][]byte{}}
	if len(opts.PageToken) > 0 && json.Unmarshal(opts.PageToken, &token) != nil {
		return nil, fail(errRecord)
	}
	size := opts.PageSize
	if size == 0 {
		size = pageSize
	}
	ctx, end := b.r.seen.Begin(ctx, opList, false)
	page, err := b.page(ctx, opts, &token, size)
	end(err)
	return page, err
}

// page makes a page of the home site's listing, or of the others'.
func (b *bucket) page(ctx context.Context, opts *driver.ListOptions, token *pageToken, size int) (*driver.ListPage, error) {
	home := b.r.home()
	if home == nil || !b.r.decides(ctx, home) || !b.r.mayRead(ctx, home) {
		return b.union(ctx, opts, token, size)
	}
	page, err := b.merge(ctx, opts, token, size, []*site{home})
	if err == nil || ctx.Err() != nil {
		return page, err
	}
	return b.union(ctx, opts, token, size)
}

// union lists without the home site.
func (b *bucket) union(ctx context.Context, opts *driver.ListOptions, token *pageToken, size int) (*driver.ListPage, error) {
	home := b.r.home()
	var errs []error
	if home != nil {
		errs = append(errs, home.lastError())
	}
	var up []*site
	for _, s := range b.r.order(ctx) {
		if s != home && !s.isQuarantined() {
			up = append(up, s)
		}
	}
	for {
		whole := 0
		for _, s := range up {
			if s.stands() == current {
				whole++
			}
		}
		if e := b.r.epoch.Load(); len(e.Sites)-whole >= e.MustReach {
			return nil, fail(ErrUnknown, errs...)
		}
		page, err := b.merge(ctx, opts, token, size, up)
		var lost *SiteError
		if err == nil || ctx.Err() != nil || !errors.As(err, &lost) {
			return page, err
		}
		errs = append(errs, err)
		up = without(up, b.r.site(lost.Site))
	}
}

// merge makes one page of the listings of some sites.
func (b *bucket) merge(ctx context.Context, opts *driver.ListOptions, after *pageToken, size int, sites []*site) (*driver.ListPage, error) {
	var cursors []*cursor
	for _, s := range sites {
		cursors = append(cursors, &cursor{s: s, opts: blob.ListOptions{Prefix: opts.Prefix, Delimiter: opts.Delimiter}, after: after.Last, next: after.Sites[s.Name], size: size})
	}
	page, token := &driver.ListPage{}, pageToken{Last: after.Last, Sites: map[string][]byte{}}
	for {
		least, err := smallest(ctx, cursors)
		if err != nil || least == nil {
			return page, err
		}
		if len(page.Objects) == size {
			for _, c := range cursors {
				token.Sites[c.s.Name] = c.page
			}
			page.NextPageToken, err = json.Marshal(token)
			return page, err
		}
		hidden, err := b.hidden(ctx, least, opts, sites)
		if err != nil {
			return nil, err
		}
		token.Last = least.Key
		if !hidden {
			page.Objects = append(page.Objects, &driver.ListObject{Key: least.Key, ModTime: least.ModTime, Size: least.Size, MD5: least.MD5, IsDir: least.IsDir})
		}
		for _, c := range cursors {
			c.pass(least.Key)
		}
	}
}

// smallest returns what comes first among the cursors; nil at the end of all.
func smallest(ctx context.Context, cursors []*cursor) (*blob.ListObject, error) {
	var least *blob.ListObject
	for _, c := range cursors {
		o, err := c.peek(ctx)
		if err != nil {
			return nil, err
		}
		if o != nil && (least == nil || o.Key < least.Key) {
			least = o
		}
	}
	return least, nil
}

// hidden reports whether a name in a listing is the router's own: a record, or a folder of nothing but records.
func (b *bucket) hidden(ctx context.Context, o *blob.ListObject, opts *driver.ListOptions, sites []*site) (bool, error) {
	if strings.HasPrefix(o.Key, reserved) {
		return true, nil
	}
	if !o.IsDir || !strings.HasPrefix(reserved, o.Key) {
		return false, nil
	}
	for _, s := range sites {
		hidden := true
		err := s.list(ctx, o.Key, func(name string) bool {
			hidden = strings.HasPrefix(name, reserved)
			return hidden
		})
		if err != nil || !hidden {
			return false, err
		}
	}
	return true, nil
}

// cursor walks through a site's listing, page by page.
type cursor struct {
	s     *site
	opts  blob.ListOptions
	after string // what is not after it was given already
	page  []byte // the token of the page that is in objects
	next  []byte // the token of the next one; nil for the first
	end   bool
	size  int

	objects []*blob.ListObject
}

// peek returns the next object, nil at the end.
func (c *cursor) peek(ctx context.Context) (*blob.ListObject, error) {
	for {
		for len(c.objects) > 0 && c.after != "" && c.objects[0].Key <= c.after {
			c.objects = c.objects[1:]
		}
		if len(c.objects) > 0 {
			return c.objects[0], nil
		}
		if c.end {
			return nil, nil
		}
		token := c.next
		if token == nil {
			token = blob.FirstPageToken
		}
		c.page = c.next
		err := c.s.call(ctx, "list", func(k context.Context) (err error) {
			c.objects, c.next, err = c.s.Bucket.ListPage(k, token, c.size, &c.opts)
			if isEOF(err) {
				err = nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		c.end = len(c.next) == 0
	}
}

// pass goes past a key.
func (c *cursor) pass(key string) { c.after = key }
