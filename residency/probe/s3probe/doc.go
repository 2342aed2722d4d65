// Package s3probe asks Amazon S3, and storage that speaks its language, where a bucket is.
//
// The provider is that of the host which answered, whatever the bucket's URL says, because a region's name means
// nothing without it: eu-west-1 is in Ireland at Amazon and in London at Wasabi. The region is that of the
// x-amz-bucket-region header of HeadBucket, which Amazon sends also to those who may not see the bucket, and
// from another region. Storage that does not send it is believed to be where its host's name says.
//
// Then the bucket's replication is read, and each destination asked for its region. That needs the permission
// s3:GetReplicationConfiguration; without it replicas are not known, and the level is Inferred at most. A rule that
// is switched off counts too, since the copies that it made are still there: delete it when they are gone.
// Replication outside of S3's own interface, as some providers offer it, cannot be seen here.
//
// Multi-region access points, transfer acceleration and delivery networks are reported as unplaced: requests
// pass wherever is nearest. So are directory buckets in a local zone and buckets on an outpost, which are not in
// the region that they belong to.
package s3probe
