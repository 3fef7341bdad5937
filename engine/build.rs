//! Writes libtorch's folder into this package's programs and tests, so that they run
//! wherever cargo puts them.
pub fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Some(lib) = std::env::var_os("LIBTORCH") {
        let lib = std::path::Path::new(&lib).join("lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
