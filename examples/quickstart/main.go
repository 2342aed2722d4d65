// Command quickstart backs a folder up and restores it: the code of the README.
package main

import (
	"context"
	"log"
	"os"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
)

func main() {
	ctx := context.Background()
	// begin README
	bucket, err := dirblob.OpenBucket("repository", &dirblob.Options{CreateDir: true})
	check(err)
	repo, err := backup.Create(ctx, bucket, backup.Password(os.Getenv("CAREKEEP_PASSWORD")), nil)
	check(err)
	snap, err := repo.Backup(ctx, backup.Dir("."), &backup.BackupOptions{Exclude: []string{"/repository/"}})
	check(err) // also when something could not be read
	_, err = snap.Restore(ctx, "restored", nil)
	check(err)
	// end README
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
