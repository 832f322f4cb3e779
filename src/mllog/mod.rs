//! mllog
