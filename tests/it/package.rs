//! Packages: from run folders to a submission.
