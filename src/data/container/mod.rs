//! What a data set can lie in: each file finds the spans of one container, and does nothing after.
//!
//! | file | reads |
//! |---|---|
//! | `folder` | `CLASS/*.JPEG`, `ImageFolder` |
//! | `archive`, `labels` | tar archives: ILSVRC2012's own, `WebDataset`'s, folders in one |
//! | `arrow` | Arrow streams: our stores, Hugging Face's `datasets` |
//! | `tfrecord` | TFRecord files of `tf.Example` |
//! | `recordio` | MXNet's RecordIO |
//! | `mds` | MosaicML's MDS |
//! | `ffcv` | FFCV's `.ffcv` |
//! | `shards` | what they share: files that are never read past their end |

pub(super) mod archive;
pub(super) mod arrow;
pub(super) mod ffcv;
pub(super) mod folder;
#[cfg(test)]
mod format_tests;
pub(super) mod labels;
pub(super) mod mds;
pub(super) mod recordio;
mod shards;
#[cfg(test)]
mod tests;
pub(super) mod tfrecord;
