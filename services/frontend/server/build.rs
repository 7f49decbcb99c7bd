//! Packs the page that Trunk built: every file in every encoding that makes it smaller, each with
//! its tag, in a table of constants that the server includes.

#[path = "src/page.rs"]
#[allow(dead_code, reason = "the server uses the rest")]
mod page;

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const NOT_BUILT: &str = "the page has not been built: run make build";

/// The replacement page of a debug build, for work on the server alone.
const PLACEHOLDER_PAGE: &str = include_str!("src/not_built.html");

/// How hard to press: a release is built once and sent often, a debug build the other way round.
struct CompressionLevels {
    brotli: u32,
    gzip: Compression,
}

struct File {
    name: String,
    content: Vec<u8>,
}

fn main() {
    if let Err(error) = pack() {
        println!("cargo::error={error}");
    }
}

fn pack() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=FRONTEND_PAGE");
    println!("cargo:rerun-if-changed=src/page.rs");
    println!("cargo:rerun-if-changed=src/not_built.html");
    let folder = match env::var_os("FRONTEND_PAGE").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../app/dist"),
    };
    // A missing path counts as changed each time, so its parent is watched until
    // there is something to watch.
    let watched = if folder.is_dir() { folder.as_path() } else { existing_parent(&folder) };
    println!("cargo:rerun-if-changed={}", watched.display());

    let is_release = env::var("PROFILE")? == "release";
    let files = match (read(&folder)?, is_release) {
        (Some(files), _) => files,
        (None, true) => return Err(NOT_BUILT.into()),
        (None, false) => {
            println!("cargo:warning={NOT_BUILT}");
            vec![File { name: "index.html".into(), content: PLACEHOLDER_PAGE.into() }]
        }
    };
    let levels = if is_release {
        CompressionLevels { brotli: 11, gzip: Compression::best() }
    } else {
        CompressionLevels { brotli: 5, gzip: Compression::default() }
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("embedded.rs"), table(&files, &levels, &out)?)?;
    Ok(())
}

fn existing_parent(folder: &Path) -> &Path {
    folder.ancestors().find(|parent| parent.is_dir()).unwrap_or(folder)
}

/// The files of the folder, or `None` when it does not hold a whole page.
fn read(folder: &Path) -> Result<Option<Vec<File>>, Box<dyn Error>> {
    let Ok(html) = fs::read_to_string(folder.join("index.html")) else {
        return Ok(None);
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Trunk prepares its work in a hidden folder.
        if name.starts_with('.') {
            continue;
        }
        if !entry.file_type()?.is_file() {
            return Err(format!("{}: only files are served", entry.path().display()).into());
        }
        let mut content = fs::read(entry.path())?;
        if page::content_type(&name) == "application/wasm" {
            content = without_custom_sections(&content).ok_or("a WebAssembly file is cut off")?;
        }
        files.push(File { name, content });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for name in page::files(&html) {
        if !files.iter().any(|file| file.name == name) {
            return Err(format!("index.html names {name}, which is not there").into());
        }
    }
    if html.matches(page::BACKEND_META).count() != 1 {
        return Err(format!("index.html must have {} once", page::BACKEND_META).into());
    }
    Ok(Some(files))
}

/// The constants `INDEX`, `ASSETS`, `SCRIPT_HASHES` and `STYLE_HASHES`.
fn table(files: &[File], levels: &CompressionLevels, out: &Path) -> Result<String, Box<dyn Error>> {
    let mut index = String::new();
    let mut assets = String::new();
    let (mut scripts, mut styles) = (String::new(), String::new());
    for (number, file) in files.iter().enumerate() {
        let entry = entry(number, file, levels, out)?;
        if file.name == "index.html" {
            let html = std::str::from_utf8(&file.content)?;
            scripts = hashes(page::inline_scripts(html));
            styles = hashes(page::inline_styles(html));
            index = entry;
        } else {
            writeln!(assets, "{entry},")?;
        }
    }
    Ok(format!(
        "pub(super) static INDEX: Embedded = {index};\n\
         pub(super) static ASSETS: &[Embedded] = &[{assets}];\n\
         pub(super) const SCRIPT_HASHES: &str = {scripts:?};\n\
         pub(super) const STYLE_HASHES: &str = {styles:?};\n"
    ))
}

fn entry(
    number: usize,
    file: &File,
    levels: &CompressionLevels,
    out: &Path,
) -> Result<String, Box<dyn Error>> {
    let packed = [
        ("Brotli", brotli(&file.content, levels)?),
        ("Gzip", gzip(&file.content, levels)?),
        ("Identity", file.content.clone()),
    ];
    let mut representations = String::new();
    for (encoding, bytes) in packed {
        if encoding != "Identity" && bytes.len() >= file.content.len() {
            continue;
        }
        let path = out.join(format!("{number}.{encoding}"));
        // 96 bits: no two versions of a page will ever share a tag.
        let etag = URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..12]);
        write!(
            representations,
            "({encoding}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{number}.{encoding}\")), {:?}), ",
            format!("\"{etag}\"")
        )?;
        fs::write(&path, bytes)?;
    }
    Ok(format!("Embedded {{ name: {:?}, representations: &[{representations}] }}", file.name))
}

fn hashes(texts: Vec<&str>) -> String {
    let hash = |text| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    texts.into_iter().map(hash).collect::<Vec<_>>().join(" ")
}

fn brotli(content: &[u8], levels: &CompressionLevels) -> Result<Vec<u8>, Box<dyn Error>> {
    // A window of 2^22 bytes holds the largest of the files whole.
    let window = 22;
    let mut packed = Vec::new();
    brotli::CompressorWriter::new(&mut packed, 4096, levels.brotli, window).write_all(content)?;
    Ok(packed)
}

fn gzip(content: &[u8], levels: &CompressionLevels) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = GzEncoder::new(Vec::new(), levels.gzip);
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

/// A module without its custom sections (WebAssembly Core 2.0, section 5.5.3). They hold the names
/// of functions, a third of the file, and nothing that is needed to run it; but wasm-bindgen has to
/// read one of them, so that they cannot be left out earlier.
fn without_custom_sections(module: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = module.split_at_checked(8)?;
    let mut stripped = head.to_vec();
    while let Some(&id) = rest.first() {
        let (mut size, mut at) = (0_usize, 1);
        // The size is in LEB128: seven bits a byte, the lowest first.
        loop {
            let byte = *rest.get(at)?;
            size |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(at - 1).ok()?)?;
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (section, after) = rest.split_at_checked(at.checked_add(size)?)?;
        if id != 0 {
            stripped.extend_from_slice(section);
        }
        rest = after;
    }
    Some(stripped)
}
