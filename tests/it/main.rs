//! One integration binary: the command line, recipes, and runs end to end.

mod recipe;
