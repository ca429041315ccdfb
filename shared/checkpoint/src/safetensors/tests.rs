use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ::safetensors::{SafeTensors, serialize, tensor::TensorView};
use pollster::block_on;
use proptest::prelude::*;

use super::*;
use crate::stranger::PREFIX_BYTES;
use crate::{BoxFuture, MemoryFile};

/// A file of a header as it stands and some data.
fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn open(bytes: &[u8]) -> Result<SafetensorsFile, CheckpointError> {
    block_on(SafetensorsFile::open(Box::new(MemoryFile::new(
        "test",
        bytes.to_vec(),
    ))))
}

fn refusal(bytes: &[u8]) -> CheckpointError {
    open(bytes).err().expect("this file must be refused")
}

/// Three tensors of the three types that are read, as the `safetensors` crate writes them.
fn sound_file() -> Vec<u8> {
    let numbers = [1.0_f32, -2.5, 0.0, 65504.0];
    let f32s: Vec<u8> = numbers
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let f16s: Vec<u8> = numbers
        .iter()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes())
        .collect();
    let bf16s: Vec<u8> = numbers
        .iter()
        .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
        .collect();
    let views = [
        (
            "single",
            TensorView::new(Dtype::F32, vec![2, 2], &f32s).unwrap(),
        ),
        (
            "half",
            TensorView::new(Dtype::F16, vec![4, 1], &f16s).unwrap(),
        ),
        (
            "brain",
            TensorView::new(Dtype::BF16, vec![4], &bf16s).unwrap(),
        ),
    ];
    let metadata = [("format".to_owned(), "pt".to_owned())]
        .into_iter()
        .collect();
    serialize(views, Some(metadata)).unwrap()
}

/// One tensor `t` with this description, and as many bytes of data.
fn one_tensor(description: &str, data_bytes: usize) -> Vec<u8> {
    file_of(&format!("{{\"t\":{description}}}"), &vec![0; data_bytes])
}

#[test]
fn the_three_float_types_are_read_as_f32() {
    let file = open(&sound_file()).unwrap();
    let read = |name| block_on(file.read_f32(name)).unwrap();
    assert_eq!(
        read("single").data,
        [1.0, -2.5, 0.0, 65504.0],
        "F32 is exact"
    );
    assert_eq!(
        read("half").data,
        [1.0, -2.5, 0.0, 65504.0],
        "these fit F16"
    );
    assert_eq!(
        read("brain").data,
        [1.0, -2.5, 0.0, 65536.0],
        "BF16 rounds the last one"
    );
    assert_eq!(
        block_on(file.read_f16("half")).unwrap(),
        [1.0, -2.5, 0.0, 65504.0].map(f16::from_f32),
        "as they are stored"
    );
    assert_eq!(read("half").shape, [4, 1], "the shape comes along");
    assert_eq!(file.metadata()["format"], "pt", "metadata is kept");
    let raw = block_on(file.read_bytes("half")).unwrap();
    assert_eq!(raw.len(), 8, "four numbers of two bytes, unconverted");
}

#[test]
fn numbers_that_are_none_are_found_wherever_they_are() {
    let file = open(&sound_file()).unwrap();
    for place in [0, 1, FINITE_BLOCK - 1, FINITE_BLOCK, 3 * FINITE_BLOCK + 7] {
        for (number, name) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "infinity"),
            (f32::NEG_INFINITY, "infinity"),
        ] {
            let mut single = vec![f32::MAX; 3 * FINITE_BLOCK + 8];
            let mut half = vec![f16::MIN; single.len()];
            assert!(
                file.require_finite("single", &single).is_ok(),
                "the largest"
            );
            assert!(file.require_finite("half", &half).is_ok(), "the smallest");
            single[place] = number;
            half[place] = f16::from_f32(number);
            for refused in [
                file.require_finite("single", &single),
                file.require_finite("half", &half),
            ] {
                let sentence = refused.unwrap_err().to_string();
                let words = format!("The base holds {name} in tensor");
                assert!(sentence.contains(&words), "{words:?} in: {sentence}");
                assert!(sentence.contains("(1 of its"), "how many: {sentence}");
            }
        }
    }
}

#[test]
fn quantised_tensors_are_named_by_the_header_alone() {
    for (dtype, name) in [
        ("F8_E4M3", "fp8 (F8_E4M3)"),
        ("F8_E5M2", "fp8 (F8_E5M2)"),
        ("I8", "I8"),
    ] {
        let entry = format!("{{\"dtype\":\"{dtype}\",\"shape\":[8],\"data_offsets\":[0,8]}}");
        let file = open(&one_tensor(&entry, 8)).unwrap();
        let sentence = file.refuse_quantised().unwrap_err().to_string();
        assert!(sentence.contains(name), "{name:?} in: {sentence}");
        assert!(sentence.contains("fp16"), "a remedy in: {sentence}");
    }
    let positions = "{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}";
    let file = open(&one_tensor(positions, 8)).unwrap();
    assert!(
        file.refuse_quantised().is_ok(),
        "position_ids are no weights"
    );
}

#[test]
fn missing_and_foreign_tensors_are_refused() {
    let bytes = one_tensor(
        "{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}",
        8,
    );
    let file = open(&bytes).unwrap();
    let answer = block_on(file.read_f32("t"));
    assert!(
        matches!(answer, Err(CheckpointError::WrongDtype { .. })),
        "got {answer:?}"
    );
    let answer = block_on(file.read_f16("t"));
    assert!(
        matches!(answer, Err(CheckpointError::WrongDtype { .. })),
        "got {answer:?}"
    );
    let answer = block_on(file.read_f32("u"));
    assert!(
        matches!(answer, Err(CheckpointError::MissingTensor { .. })),
        "got {answer:?}"
    );
}

#[test]
fn what_is_no_safetensors_file_is_called_by_its_name() {
    let zip = |name: &str| {
        let mut header = b"PK\x03\x04".to_vec();
        header.resize(30, 0);
        header[26] = name.len() as u8;
        [&header, name.as_bytes(), b"what it holds"].concat()
    };
    let cases: [(&[u8], &str); 16] = [
        (b"", "an empty file"),
        (b"short", "a text"),
        (b"Entry not found", "download it again if it was one"),
        (b"\x00\x01\x02\x03", "something else"),
        (&zip("archive/data.pkl"), "run a stranger's code"),
        (&zip("model/byteorder"), "run a stranger's code"),
        (&zip("glasses.safetensors"), "a zip archive; unpack it"),
        (&zip("lora/glasses.safetensors"), "a zip archive; unpack it"),
        (b"PK\x03\x04", "a zip archive; unpack it"),
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive; unpack it"),
        (
            b"\x80\x02}q\x00(X\x0a\x00\x00\x00state_dict",
            "run a stranger's code",
        ),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"GGUF\x03\x00\x00\x00\x00\x00", "GGUF"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "a picture"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "something else"),
    ];
    for (bytes, expected) in cases {
        let message = refusal(bytes).to_string();
        let message = message.replace(", not a safetensors file", "");
        assert!(message.contains(expected), "{bytes:?} gave: {message}");
    }
}

#[test]
fn a_header_whose_length_looks_like_a_pickle_is_read() {
    // 640 is 80 02 00 …, the first bytes of a pickle of protocol 2.
    let header = format!("{:<640}", "{}");
    assert!(
        open(&file_of(&header, b"")).is_ok(),
        "only the length looks like a pickle"
    );
}

#[test]
fn a_header_longer_than_the_format_allows_is_refused() {
    let mut bytes = 100_000_001_u64.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    let error = refusal(&bytes);
    assert!(
        matches!(error, CheckpointError::HeaderTooLong { .. }),
        "got {error}"
    );
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = refusal(&bytes);
    assert!(
        matches!(error, CheckpointError::HeaderTooLong { .. }),
        "got {error}"
    );
}

#[test]
fn a_header_longer_than_the_file_is_refused() {
    let mut bytes = 99_000_000_u64.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    let error = refusal(&bytes);
    assert!(
        matches!(error, CheckpointError::Truncated { .. }),
        "got {error}"
    );
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let whole = sound_file();
    for length in 0..whole.len() {
        let error = refusal(&whole[..length]);
        assert!(
            matches!(
                error,
                CheckpointError::Truncated { .. } | CheckpointError::NotSafetensors { .. }
            ),
            "{length} of {} bytes gave: {error}",
            whole.len()
        );
    }
}

#[test]
fn a_longer_file_is_refused() {
    let mut bytes = sound_file();
    bytes.push(0);
    let error = refusal(&bytes);
    assert!(
        matches!(error, CheckpointError::TrailingBytes { .. }),
        "got {error}"
    );
}

#[test]
fn hostile_offsets_and_shapes_are_refused() {
    let offsets =
        |text: &str| format!("{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{text}}}");
    for text in ["[4,8]", "[4,0]", "[1,0]"] {
        let error = refusal(&one_tensor(&offsets(text), 8));
        assert!(
            matches!(error, CheckpointError::BadOffsets { .. }),
            "{text} gave: {error}"
        );
    }
    let error = refusal(&one_tensor(&offsets("[0,8]"), 8));
    assert!(
        matches!(error, CheckpointError::WrongSize { .. }),
        "got {error}"
    );

    let shape =
        |text: &str| format!("{{\"dtype\":\"F32\",\"shape\":{text},\"data_offsets\":[0,4]}}");
    for text in [
        "[18446744073709551615]",
        "[4294967296,4294967296]",
        "[2,9223372036854775808]",
    ] {
        let error = refusal(&one_tensor(&shape(text), 4));
        assert!(
            matches!(error, CheckpointError::ShapeOverflow { .. }),
            "{text} gave: {error}"
        );
    }
    for text in ["[-1]", "[1.5]", "[18446744073709551616]", "\"1\"", "null"] {
        let error = refusal(&one_tensor(&shape(text), 4));
        assert!(
            matches!(error, CheckpointError::BadHeader { .. }),
            "{text} gave: {error}"
        );
    }
    let half_a_byte = "{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,0]}";
    let error = refusal(&one_tensor(half_a_byte, 0));
    assert!(
        matches!(error, CheckpointError::ShapeOverflow { .. }),
        "got {error}"
    );

    let past_the_end = "{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}";
    let error = refusal(&one_tensor(past_the_end, 8));
    assert!(
        matches!(error, CheckpointError::Truncated { .. }),
        "got {error}"
    );
}

#[test]
fn overlapping_and_doubled_tensors_are_refused() {
    let tensor = |name: &str, start: usize, end: usize| {
        let shape = end - start;
        format!(
            "\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}"
        )
    };
    let overlap = format!("{{{},{}}}", tensor("a", 0, 8), tensor("b", 4, 12));
    let error = refusal(&file_of(&overlap, &[0; 12]));
    assert!(
        matches!(error, CheckpointError::BadOffsets { .. }),
        "got {error}"
    );

    let shared = format!("{{{},{}}}", tensor("a", 0, 8), tensor("b", 0, 8));
    let error = refusal(&file_of(&shared, &[0; 8]));
    assert!(
        matches!(error, CheckpointError::BadOffsets { .. }),
        "got {error}"
    );

    // The same bytes or others: it is the name that is there twice.
    for (start, end) in [(0, 8), (8, 16), (4, 12)] {
        let doubled = format!("{{{},{}}}", tensor("a", 0, 8), tensor("a", start, end));
        let error = refusal(&file_of(&doubled, &[0; 16]));
        assert!(
            matches!(error, CheckpointError::DuplicateTensor { .. }),
            "got {error}"
        );
        let message = error.to_string();
        assert!(message.contains("\"a\""), "which: {message}");
    }
}

#[test]
fn metadata_is_added_and_the_tensors_stay() {
    let values = Array {
        shape: vec![2],
        data: vec![0.5, -3.0],
    };
    let tensors = [("b", &values), ("a", &values)];
    let tensors = tensors.map(|(name, values)| (name.to_owned(), values.clone()));
    let before = write_f32(tensors.into(), &BTreeMap::new());
    let after = block_on(async {
        let file = SafetensorsFile::open(Box::new(MemoryFile::new("test", before))).await?;
        let bytes = file.with_metadata("key", "a \"value\"").await?;
        SafetensorsFile::open(Box::new(MemoryFile::new("test", bytes))).await
    })
    .unwrap();
    assert_eq!(after.metadata()["key"], "a \"value\"", "added");
    for name in ["a", "b"] {
        let read = block_on(after.read_f32(name)).unwrap();
        assert_eq!(read, values, "tensor {name}");
    }
}

#[test]
fn metadata_must_be_text_and_stand_once() {
    for header in [
        "{\"__metadata__\":{\"a\":1}}",
        "{\"__metadata__\":[]}",
        "{\"__metadata__\":{},\"__metadata__\":{}}",
    ] {
        let error = refusal(&file_of(header, b""));
        assert!(
            matches!(error, CheckpointError::BadHeader { .. }),
            "{header} gave: {error}"
        );
    }
}

#[test]
fn a_message_shows_no_control_characters_of_the_file() {
    let name = "\\u001b[2J\\n".repeat(1000);
    let header =
        format!("{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}}}");
    let message = refusal(&file_of(&header, &[0; 8])).to_string();
    assert!(
        !message.contains(char::is_control),
        "a name must not move the cursor: {message:?}"
    );
    assert!(
        message.len() < 2000,
        "a long name must not flood the terminal"
    );
    let message = refusal(&one_tensor("{\"dtype\":\"\\u001b[2J\"}", 0)).to_string();
    assert!(
        !message.contains(char::is_control),
        "the parser quotes what it read: {message:?}"
    );
}

#[test]
fn a_written_file_is_read_by_the_reference_and_has_one_form() {
    let metadata: BTreeMap<String, String> = ["b", "a", "c"]
        .map(|key| (key.to_owned(), format!("\"{key}\"\n")))
        .into();
    let tensors = || {
        BTreeMap::from([
            ("z".to_owned(), (vec![2], vec![0, 1, 2, 3])),
            ("a".to_owned(), (vec![], vec![9, 9])),
        ])
    };
    let write = || {
        let data = write::TensorData::new(Dtype::F16, tensors());
        [data.header(&metadata), data.bytes().to_vec()].concat()
    };
    let bytes = write();
    assert_eq!(bytes, write(), "the same content gives the same bytes");

    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        parsed.tensor("z").unwrap().data(),
        [0, 1, 2, 3],
        "the reference reads it"
    );
    assert_eq!(
        parsed.tensor("a").unwrap().shape(),
        [0_usize; 0],
        "a number has no sizes"
    );
    let header_end = bytes.len() - 6;
    assert_eq!(header_end % 8, 0, "data starts at a multiple of eight");
    let header = std::str::from_utf8(&bytes[8..header_end]).unwrap();
    let places = ["\"a\":\"", "\"b\":\"", "\"c\":\""].map(|key| header.find(key).unwrap());
    assert!(places.is_sorted(), "metadata is sorted: {header}");
    assert_eq!(
        open(&bytes).unwrap().metadata(),
        &metadata,
        "and comes back"
    );
}

/// Counts what is asked for, to see that a hostile header cannot make the reader greedy.
struct CountingFile {
    inner: MemoryFile,
    asked_bytes: Arc<AtomicUsize>,
}

impl AsyncReadAt for CountingFile {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        self.asked_bytes.fetch_add(length, Ordering::Relaxed);
        self.inner.read_at(offset, length)
    }
}

/// Opens `bytes` and reads all that can be read; whatever happens is a value or a sentence.
fn exercise(bytes: &[u8]) -> bool {
    let asked_bytes = Arc::new(AtomicUsize::new(0));
    let source = CountingFile {
        inner: MemoryFile::new("test", bytes.to_vec()),
        asked_bytes: Arc::clone(&asked_bytes),
    };
    let opened = block_on(SafetensorsFile::open(Box::new(source)));
    let is_ok = opened.is_ok();
    match opened {
        Ok(file) => {
            for name in file.tensors().keys() {
                if let Err(error) = block_on(file.read_f32(name)) {
                    assert_is_a_sentence(&error);
                }
            }
        }
        Err(error) => assert_is_a_sentence(&error),
    }
    // How the file begins is looked at before the header is read.
    assert!(
        asked_bytes.load(Ordering::Relaxed) <= bytes.len() + PREFIX_BYTES,
        "asked for more than the file has"
    );
    is_ok
}

fn assert_is_a_sentence(error: &CheckpointError) {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "one line: {message:?}");
    assert!(message.len() < 2000, "not a flood: {} bytes", message.len());
}

/// Header text out of pieces that are nearly right, which finds more than random bytes do.
fn nearly_a_header() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (0_u64..20).prop_map(|number| number.to_string()),
        Just(u64::MAX.to_string()),
        Just("-1".to_owned()),
        Just("1e3".to_owned()),
    ];
    let numbers =
        prop::collection::vec(number, 0..4).prop_map(|list| format!("[{}]", list.join(",")));
    let dtype = prop::sample::select(vec!["F32", "F16", "BF16", "I64", "F4", "Q8", ""]);
    let tensor = (dtype, numbers.clone(), numbers).prop_map(|(dtype, shape, offsets)| {
        format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    });
    let name = prop::sample::select(vec!["a", "b", "", "__metadata__", "\\u0000"]);
    let entry = (name, tensor).prop_map(|(name, tensor)| format!("\"{name}\":{tensor}"));
    prop::collection::vec(entry, 0..4).prop_map(|entries| format!("{{{}}}", entries.join(",")))
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn no_header_makes_the_reader_panic(
        header in prop_oneof![nearly_a_header(), "\\{\\PC*"],
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        exercise(&file_of(&header, &data));
    }

    /// With one byte changed, this reader and the reference come to the same verdict.
    #[test]
    fn the_reference_agrees_about_damaged_files(place in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = sound_file();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let reference = SafeTensors::deserialize(&bytes).is_ok();
        prop_assert_eq!(exercise(&bytes), reference, "byte {} set to {}", place, byte);
    }

    /// So they do about headers that are wrong in meaning. Only equal names are judged differently:
    /// the reference keeps the last.
    #[test]
    fn the_reference_agrees_about_hostile_headers(
        header in nearly_a_header(),
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = file_of(&header, &data);
        let reference = SafeTensors::deserialize(&bytes).is_ok();
        let doubled = ["\"a\":", "\"b\":", "\"\":", "\"\\u0000\":"]
            .iter()
            .any(|name| header.matches(name).count() > 1);
        let ours = exercise(&bytes);
        prop_assert!(ours == reference || (doubled && !ours), "{} gave {}", header, ours);
    }
}
