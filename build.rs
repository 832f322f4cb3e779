//! Stamps the build with the commit it was made from.

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
}
