//! Compiles the grammar of the model language into `$OUT_DIR`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=src/dsl/grammar.lalrpop");
    lalrpop::Configuration::new().use_cargo_dir_conventions().process()
}
