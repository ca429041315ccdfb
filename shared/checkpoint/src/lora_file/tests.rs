use ::safetensors::{SafeTensors, serialize, tensor::TensorView};
use pollster::block_on;
use proptest::prelude::*;

use super::*;
use crate::metadata::{self, ADAPTER_CONFIG, LORA_ADAPTER_METADATA};
use crate::{Dtype, LoraFileError, MemoryFile, SafetensorsFile};

const LINEAR: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
const CONVOLUTION: &str = "lora_unet_mid_block_attentions_0_proj_in";

fn array(shape: &[usize]) -> Array {
    let count = shape.iter().product::<usize>();
    Array {
        shape: shape.to_vec(),
        data: (0..count).map(|index| index as f32 * 0.25).collect(),
    }
}

fn example() -> LoraFile {
    let linear = LoraModule {
        mid: None,
        down: array(&[2, 3]),
        up: array(&[4, 2]),
        alpha: 1.0,
    };
    let convolution = LoraModule {
        mid: None,
        down: array(&[2, 5, 1, 1]),
        up: array(&[5, 2, 1, 1]),
        alpha: 2.0,
    };
    LoraFile {
        modules: [
            (LINEAR.to_owned(), linear),
            (CONVOLUTION.to_owned(), convolution),
        ]
        .into(),
        metadata: [
            ("ss_network_dim".to_owned(), "2".to_owned()),
            ("mimeo.version".to_owned(), "0.1.0".to_owned()),
        ]
        .into(),
        reading: Reading::default(),
    }
}

fn read(bytes: &[u8]) -> Result<LoraFile, LoraFileError> {
    block_on(LoraFile::read(Box::new(MemoryFile::new(
        "test",
        bytes.to_vec(),
    ))))
}

fn refusal(bytes: &[u8]) -> LoraFileError {
    read(bytes).expect_err("this file must be refused")
}

/// A file with these tensors of zeros (or of `fill`), for spellings that Mimeo does not write.
fn foreign_file(tensors: &[(&str, Dtype, &[usize])], fill: u8) -> Vec<u8> {
    foreign_file_saying(tensors, fill, &[])
}

/// The same with metadata.
fn foreign_file_saying(
    tensors: &[(&str, Dtype, &[usize])],
    fill: u8,
    metadata: &[(&str, &str)],
) -> Vec<u8> {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, dtype, shape)| vec![fill; shape.iter().product::<usize>() * dtype.bitsize() / 8])
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, dtype, shape), bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.to_vec(), bytes).unwrap(),
            )
        });
    let owned = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let metadata = (!metadata.is_empty()).then(|| owned.collect());
    serialize(views, metadata).unwrap()
}

/// Both factors of one module of rank 2 in PEFT's spelling, after `prefix`.
fn peft_file(prefix: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
    let path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let [down, up] = ["lora_A", "lora_B"].map(|part| format!("{prefix}{path}.{part}.weight"));
    let tensors: [(&str, Dtype, &[usize]); 2] =
        [(&down, Dtype::F32, &[2, 3]), (&up, Dtype::F32, &[4, 2])];
    foreign_file_saying(&tensors, 0, metadata)
}

fn survey_of(bytes: &[u8]) -> Result<Remarks, LoraFileError> {
    block_on(async {
        let file = MemoryFile::new("test", bytes.to_vec());
        survey(&SafetensorsFile::open(Box::new(file)).await?).await
    })
}

fn key(part: &str) -> String {
    format!("{LINEAR}.{part}")
}

#[test]
fn what_was_written_is_read_back() {
    let lora = example();
    for precision in [Precision::F16, Precision::F32] {
        let back = read(&lora.write(precision).unwrap()).unwrap();
        assert_eq!(
            back.modules, lora.modules,
            "quarters are exact in {precision:?}"
        );
        for (key, value) in &lora.metadata {
            assert_eq!(
                back.metadata.get(key),
                Some(value),
                "metadata {key} in {precision:?}"
            );
        }
        assert_eq!(
            back.write(precision).unwrap(),
            lora.write(precision).unwrap(),
            "and again"
        );
    }
}

#[test]
fn the_file_has_the_names_and_shapes_of_kohya() {
    let bytes = example().write(Precision::F16).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    let expected = [CONVOLUTION, LINEAR].map(|module| {
        ["alpha", "lora_down.weight", "lora_up.weight"].map(|part| format!("{module}.{part}"))
    });
    assert_eq!(names, expected.concat(), "three tensors per module");
    let alpha = file.tensor(&key("alpha")).unwrap();
    assert_eq!(
        (alpha.shape(), alpha.dtype()),
        ([0; 0].as_slice(), Dtype::F16),
        "one number"
    );
}

#[test]
fn the_hashes_are_those_of_the_bytes() {
    let bytes = example().write(Precision::F16).unwrap();
    let header_length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let after_header = crate::sha256::sha256_hex(&bytes[8 + header_length..]);
    let metadata = read(&bytes).unwrap().metadata;
    assert_eq!(
        metadata::model_hash(&metadata),
        Some(&*after_header),
        "over the tensors alone"
    );
    // SHA-256 of nothing: a file below 1 MiB does not reach the window.
    assert_eq!(
        metadata[metadata::LEGACY_HASH],
        "e3b0c442",
        "as kohya computes it"
    );
}

#[test]
fn the_short_hash_covers_64_kib_from_1_mib_on_without_other_metadata() {
    let width = 300_000;
    let module = LoraModule {
        mid: None,
        down: array(&[1, width]),
        up: array(&[1, 1]),
        alpha: 1.0,
    };
    let mut lora = example();
    lora.modules = [(LINEAR.to_owned(), module)].into();
    let hash_of = |lora: &LoraFile| {
        read(&lora.write(Precision::F32).unwrap()).unwrap().metadata[metadata::LEGACY_HASH].clone()
    };

    // The same by hand: the reference's own writer, one metadata key, the window cut out.
    let bytes = lora.write(Precision::F32).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let training = [("ss_network_dim".to_owned(), "2".to_owned())]
        .into_iter()
        .collect();
    let plain = serialize(file.tensors(), Some(training)).unwrap();
    let expected = crate::sha256::sha256_hex(&plain[0x10_0000..0x11_0000]);
    assert_eq!(
        hash_of(&lora),
        expected[..8],
        "over the file with ss_* metadata only"
    );

    let before = hash_of(&lora);
    lora.metadata.insert(
        "modelspec.title".to_owned(),
        "another, longer title".to_owned(),
    );
    assert_eq!(hash_of(&lora), before, "other metadata does not count");
}

#[test]
fn peft_and_diffusers_spellings_are_read() {
    let path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let spellings = [
        [
            format!("unet.{path}.lora_A.weight"),
            format!("unet.{path}.lora_B.weight"),
        ],
        [
            format!("unet.{path}.lora.down.weight"),
            format!("unet.{path}.lora.up.weight"),
        ],
    ];
    for [down, up] in &spellings {
        let file = foreign_file(
            &[(down, Dtype::BF16, &[2, 3]), (up, Dtype::BF16, &[4, 2])],
            0,
        );
        let lora = read(&file).unwrap();
        let module = &lora.modules[LINEAR];
        assert_eq!(module.down.shape, [2, 3], "A of {down}");
        assert_eq!(module.up.shape, [4, 2], "B of {up}");
        assert_eq!(module.alpha, 2.0, "without alpha, alpha is the rank");
    }
}

#[test]
fn an_alpha_of_another_form_is_read() {
    for dtype in [Dtype::I64, Dtype::I32, Dtype::F64, Dtype::BF16] {
        let file = foreign_file(
            &[
                (&key("lora_down.weight"), Dtype::F32, &[2, 3]),
                (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
                (&key("alpha"), dtype, &[1]),
            ],
            0,
        );
        assert_eq!(
            read(&file).unwrap().modules[LINEAR].alpha,
            0.0,
            "{dtype:?}, in a list of one"
        );
    }
    let file = foreign_file(
        &[
            (&key("lora_down.weight"), Dtype::F32, &[2, 3]),
            (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
            (&key("alpha"), Dtype::F32, &[2]),
        ],
        0,
    );
    let error = refusal(&file);
    assert!(
        error.to_string().contains("not one number"),
        "two alphas gave: {error}"
    );
}

#[test]
fn each_alpha_is_read_from_where_its_program_writes_it() {
    let diffusers = (
        LORA_ADAPTER_METADATA,
        r#"{"unet.r": 2, "unet.lora_alpha": 1}"#,
    );
    let bare = (LORA_ADAPTER_METADATA, r#"{"r": 2, "lora_alpha": 1}"#);
    let peft = (ADAPTER_CONFIG, r#"{"r": 2, "lora_alpha": 4}"#);
    let stabilized = (
        LORA_ADAPTER_METADATA,
        r#"{"unet.r": 2, "unet.lora_alpha": 2, "unet.use_rslora": true}"#,
    );
    let cases = [
        ("unet.", diffusers, AlphaOrigin::Metadata, 0.5),
        ("", bare, AlphaOrigin::Metadata, 0.5),
        ("diffusion_model.", diffusers, AlphaOrigin::Metadata, 0.5),
        ("base_model.model.", peft, AlphaOrigin::AdapterConfig, 2.0),
        (
            "unet.",
            stabilized,
            AlphaOrigin::Metadata,
            2.0 / 2.0_f32.sqrt(),
        ),
        // Of another program, or of another part.
        ("unet.", peft, AlphaOrigin::Rank, 1.0),
        (
            "unet.",
            (LORA_ADAPTER_METADATA, r#"{"text_encoder.lora_alpha": 1}"#),
            AlphaOrigin::Rank,
            1.0,
        ),
    ];
    for (prefix, metadata, origin, scale) in cases {
        let lora = read(&peft_file(prefix, &[metadata])).unwrap();
        let module = &lora.modules[LINEAR];
        assert!(
            (module.scale() - scale).abs() < 1e-6,
            "{prefix:?} and {metadata:?} gave {}",
            module.scale()
        );
        let alphas = BTreeMap::from([(origin, 1)]);
        assert_eq!(lora.reading.alphas, alphas, "{prefix:?} and {metadata:?}");
        let is_stabilized = metadata == stabilized;
        assert_eq!(
            lora.reading.rank_stabilized,
            usize::from(is_stabilized),
            "of {metadata:?}"
        );
    }
}

#[test]
fn a_tensor_counts_before_everything_else() {
    let path = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let [down, up, alpha] =
        ["lora_A.weight", "lora_B.weight", "alpha"].map(|part| format!("{path}.{part}"));
    let file = foreign_file_saying(
        &[
            (&down, Dtype::F32, &[2, 3]),
            (&up, Dtype::F32, &[4, 2]),
            (&alpha, Dtype::F32, &[]),
        ],
        0,
        &[(LORA_ADAPTER_METADATA, r#"{"unet.lora_alpha": 7}"#)],
    );
    let lora = read(&file).unwrap();
    assert_eq!(lora.modules[LINEAR].alpha, 0.0, "the tensor's");
    let alphas = BTreeMap::from([(AlphaOrigin::Tensor, 1)]);
    assert_eq!(lora.reading.alphas, alphas, "and it is said");
}

#[test]
fn a_file_of_peft_without_its_configuration_is_refused() {
    let file = peft_file("base_model.model.", &[]);
    for error in [refusal(&file), survey_of(&file).unwrap_err()] {
        assert!(
            matches!(error, LoraFileError::MissingAdapterConfig { .. }),
            "got {error}"
        );
        let message = error.to_string();
        assert!(message.contains("adapter_config.json"), "what: {message}");
    }
}

#[test]
fn a_file_of_peft_and_its_configuration_are_put_together() {
    let weights = peft_file("base_model.model.", &[]);
    let together = |config: &str| {
        block_on(async {
            let file = MemoryFile::new("test", weights.clone());
            put_together(&SafetensorsFile::open(Box::new(file)).await?, config).await
        })
    };
    let file = together(r#"{"r": 2, "lora_alpha": 6}"#).unwrap();
    assert_eq!(read(&file).unwrap().modules[LINEAR].scale(), 3.0, "6 / 2");
    let left_out = survey_of(&file).unwrap().left_out;
    assert_eq!(left_out, LeftOut::default(), "all of it");
    let error = together("{").unwrap_err();
    assert!(
        matches!(error, LoraFileError::BadAdapterConfig { .. }),
        "got {error}"
    );
    let error = together(r#"{"use_qalora": true}"#).unwrap_err();
    assert!(
        matches!(error, LoraFileError::OtherArithmetic { .. }),
        "got {error}"
    );
}

#[test]
fn a_configuration_beside_the_file_counts_for_what_peft_saved() {
    let with_config = |file: Vec<u8>| {
        let config = AdapterConfig::read(r#"{"lora_alpha": 1}"#, "config").unwrap();
        block_on(async {
            let file = SafetensorsFile::open(Box::new(MemoryFile::new("test", file))).await?;
            LoraFile::with_adapter_config(&file, Some(&config)).await
        })
        .unwrap()
        .modules[LINEAR]
            .alpha
    };
    let alpha = with_config(peft_file("base_model.model.", &[]));
    assert_eq!(alpha, 1.0, "PEFT's own");
    let alpha = with_config(peft_file("unet.", &[]));
    assert_eq!(alpha, 2.0, "another file's: it only lies there");
}

#[test]
fn a_configuration_of_another_rank_is_refused() {
    let metadata = (
        LORA_ADAPTER_METADATA,
        r#"{"unet.r": 8, "unet.lora_alpha": 1}"#,
    );
    let message = refusal(&peft_file("unet.", &[metadata])).to_string();
    for words in ["rank 2", "says 8", "to_q"] {
        assert!(message.contains(words), "{words:?} in: {message}");
    }
}

#[test]
fn settings_of_a_later_program_are_named() {
    let metadata = (
        LORA_ADAPTER_METADATA,
        r#"{"unet.lora_alpha": 1, "unet.use_better": true}"#,
    );
    let lora = read(&peft_file("unet.", &[metadata])).unwrap();
    let unknown: Vec<&String> = lora.reading.unknown_settings.iter().collect();
    assert_eq!(unknown, ["use_better"], "left aside, but not silently");
}

#[test]
fn a_file_of_other_kinds_alone_is_refused_by_their_names() {
    let kinds = [
        ("hada_w1_a", "LoHa 1"),
        ("lokr_w1", "LoKr 1"),
        ("dora_scale", "DoRA 1"),
    ];
    for (part, expected) in kinds {
        let file = foreign_file(
            &[
                (&key("lora_down.weight"), Dtype::F16, &[2, 3]),
                (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
                (&key(part), Dtype::F16, &[2, 2]),
            ],
            0,
        );
        for error in [refusal(&file), survey_of(&file).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains(expected), "{part} gave: {message}");
        }
    }
}

#[test]
fn what_is_no_plain_lora_is_left_out_by_kind_and_count() {
    let norm = "lora_unet_mid_block_attentions_0_norm.w_norm";
    let vectors = "lora_te_text_model_embeddings_token_embedding";
    let text = "lora_te_text_model_encoder_layers_0_mlp_fc1";
    let resnet = "lora_unet_mid_block_resnets_0_conv1";
    let parts = |module: &str| ["down", "up"].map(|part| format!("{module}.lora_{part}.weight"));
    let [text_down, text_up] = parts(text);
    let [resnet_down, resnet_up] = parts(resnet);
    let [vectors_down, vectors_up] = parts(vectors);
    let convolution = |part: &str| format!("{CONVOLUTION}.{part}");
    let file = foreign_file(
        &[
            (&key("lora_down.weight"), Dtype::F16, &[2, 3]),
            (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
            // Added on top, so that the factors still mean what they mean.
            (&key("diff_b"), Dtype::F16, &[4]),
            // Without its magnitudes this would be another change.
            (&convolution("lora_down.weight"), Dtype::F16, &[2, 5, 1, 1]),
            (&convolution("lora_up.weight"), Dtype::F16, &[5, 2, 1, 1]),
            (&convolution("dora_scale"), Dtype::F16, &[5]),
            (norm, Dtype::F16, &[4]),
            (&vectors_down, Dtype::F16, &[2, 3]),
            (&vectors_up, Dtype::F16, &[4, 2]),
            (&text_down, Dtype::F16, &[2, 3]),
            (&text_up, Dtype::F16, &[4, 2]),
            (&resnet_down, Dtype::F16, &[2, 3, 3, 3]),
            (&resnet_up, Dtype::F16, &[4, 2, 1, 1]),
        ],
        0,
    );
    let lora = read(&file).unwrap();
    let names: Vec<&str> = lora.modules.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [vectors, text, LINEAR, resnet],
        "what is a plain LoRA"
    );
    let applied = [
        (Part::Transformers, 1),
        (Part::Convolutions, 1),
        (Part::TextEncoder, 1),
    ];
    assert_eq!(lora.applied(), applied.into(), "where it can be applied");
    let expected = "DoRA 1, difference of a bias (diff_b) 1, norm (w_norm, b_norm) 1, vectors of the text encoder 1";
    assert_eq!(lora.left_out().to_string(), expected, "of the whole file");
    let surveyed = survey_of(&file).unwrap();
    assert_eq!(surveyed, lora.remarks(), "the same at a glance");
}

#[test]
fn a_lora_of_one_part_alone_is_applied_unless_no_lora_changes_that() {
    let of = |module: &str| {
        let [down, up] = ["lora_down", "lora_up"].map(|part| format!("{module}.{part}.weight"));
        foreign_file(
            &[(&down, Dtype::F16, &[2, 3]), (&up, Dtype::F16, &[4, 2])],
            0,
        )
    };
    for module in [
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_projection",
        "lora_unet_time_embedding_linear_1",
        LINEAR,
    ] {
        let file = of(module);
        assert!(
            read(&file).unwrap().check_applies("test").is_ok(),
            "{module}"
        );
        assert!(survey_of(&file).is_ok(), "{module} at a glance");
    }
    let file = of("lora_unet_mid_block_attentions_0_norm");
    let applied = read(&file).unwrap().check_applies("test");
    for error in [applied.unwrap_err(), survey_of(&file).unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("norm layers 1"), "why: {message}");
    }
}

#[test]
fn a_convolution_in_tucker_form_is_read_and_written() {
    let module = LoraModule {
        mid: Some(array(&[2, 2, 3, 3])),
        down: array(&[2, 5, 1, 1]),
        up: array(&[4, 2, 1, 1]),
        alpha: 1.0,
    };
    let mut lora = example();
    let name = "lora_unet_mid_block_resnets_0_conv1";
    lora.modules.insert(name.to_owned(), module);
    let bytes = lora.write(Precision::F32).unwrap();
    assert_eq!(read(&bytes).unwrap().modules, lora.modules, "three factors");
    let mut still = lora.modules[name].clone();
    assert!(still.changes_something(), "all three do");
    still.mid.as_mut().unwrap().data.fill(0.0);
    assert!(!still.changes_something(), "the one between is 0");
}

#[test]
fn loras_of_other_models_and_textual_inversions_are_named() {
    let key = "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight";
    let error = refusal(&foreign_file(&[(key, Dtype::BF16, &[2, 3])], 0));
    assert!(
        matches!(&error, LoraFileError::OtherModel { model, .. } if model.contains("Flux")),
        "got {error}"
    );
    let key = "some_model.layer.lora_A.weight";
    let error = refusal(&foreign_file(&[(key, Dtype::BF16, &[2, 3])], 0));
    assert!(
        matches!(&error, LoraFileError::OtherModel { model, .. } if model.contains(key)),
        "what is seen of a LoRA of something else: {error}"
    );
    for (key, shape) in [("emb_params", &[4, 768][..]), ("<cat-toy>", &[768][..])] {
        let error = refusal(&foreign_file(&[(key, Dtype::F32, shape)], 0));
        assert!(
            matches!(error, LoraFileError::TextualInversion { .. }),
            "{key} gave: {error}"
        );
    }
}

#[test]
fn a_lora_whose_alpha_or_weights_are_nothing_is_told() {
    let changed = |change: &dyn Fn(&mut LoraModule)| {
        let mut lora = example();
        lora.modules.values_mut().for_each(change);
        lora.write(Precision::F32).unwrap()
    };
    let without_alpha = changed(&|module| module.alpha = 0.0);
    let without_up = changed(&|module| module.up.data.fill(0.0));
    let without_down = changed(&|module| module.down.data.fill(-0.0));
    for (file, what) in [
        (without_alpha, "alpha"),
        (without_up, "up, as a LoRA begins"),
        (without_down, "down"),
    ] {
        let remarks = survey_of(&file).unwrap();
        assert!(remarks.changes_nothing, "0 is its {what}");
        assert_eq!(read(&file).unwrap().remarks(), remarks, "read whole");
    }
    let mut half = example();
    half.modules.get_mut(LINEAR).unwrap().alpha = 0.0;
    let remarks = survey_of(&half.write(Precision::F32).unwrap()).unwrap();
    assert!(!remarks.changes_nothing, "the other module does something");
    let norm = "lora_unet_mid_block_attentions_0_norm";
    let module = half.modules[CONVOLUTION].clone();
    half.modules.insert(norm.to_owned(), module);
    half.modules.get_mut(CONVOLUTION).unwrap().alpha = 0.0;
    let remarks = survey_of(&half.write(Precision::F32).unwrap()).unwrap();
    assert!(
        remarks.changes_nothing,
        "what is not applied does not count"
    );
}

#[test]
fn what_settings_ask_for_and_the_file_lacks_is_told_and_a_dora_is_refused() {
    let file = |settings: &str| {
        let settings = format!(r#"{{"r": 2, "lora_alpha": 2, "bias": "none", {settings}}}"#);
        peft_file("base_model.model.", &[(ADAPTER_CONFIG, &settings)])
    };
    let missing = |settings: &str| {
        let file = file(settings);
        let remarks = survey_of(&file).unwrap();
        assert_eq!(remarks, read(&file).unwrap().remarks(), "of {settings}");
        Vec::from_iter(remarks.missing)
    };
    let none = r#""use_dora": false, "lora_bias": false, "modules_to_save": null"#;
    assert!(missing(none).is_empty(), "nothing is asked for");
    let some = r#""lora_bias": true, "modules_to_save": ["conv_in"]"#;
    assert_eq!(missing(some), ["lora_bias", "modules_to_save"], "told");
    let dora = file(r#""use_dora": true"#);
    for error in [refusal(&dora), survey_of(&dora).unwrap_err()] {
        let message = error.to_string();
        let words = "use_dora = true in adapter_config.json asks for magnitudes";
        assert!(message.contains(words), "{words:?} in: {message}");
    }
}

#[test]
fn checkpoints_and_unknown_keys_are_refused() {
    let file = foreign_file(&[("model.diffusion_model.out.2.bias", Dtype::F16, &[4])], 0);
    let error = refusal(&file);
    assert!(
        matches!(error, LoraFileError::NotALora { .. }),
        "a checkpoint gave: {error}"
    );
    let error = refusal(&foreign_file(&[], 0));
    assert!(
        matches!(error, LoraFileError::NotALora { .. }),
        "nothing gave: {error}"
    );
    let file = foreign_file(
        &[
            (&key("lora_down.weight"), Dtype::F16, &[2, 3]),
            (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
            ("something.else", Dtype::F16, &[1]),
        ],
        0,
    );
    let error = refusal(&file);
    assert!(
        matches!(error, LoraFileError::UnknownKey { .. }),
        "got {error}"
    );
}

#[test]
fn contradicting_modules_are_refused() {
    let with_shapes = |down: &[usize], up: &[usize]| {
        foreign_file(
            &[
                (&key("lora_down.weight"), Dtype::F16, down),
                (&key("lora_up.weight"), Dtype::F16, up),
            ],
            0,
        )
    };
    let cases: [(&[usize], &[usize], &str); 6] = [
        (&[2, 3], &[4, 3], "rank 2 in its down weight and 3"),
        (&[0, 3], &[4, 0], "is empty"),
        (&[2, 3, 3, 3], &[4, 2, 3, 3], "neither a linear layer"),
        (&[2, 3], &[4, 2, 1, 1], "neither a linear layer"),
        (&[6], &[4, 2], "neither a linear layer"),
        (&[2, 0], &[4, 2], "is empty"),
    ];
    for (down, up, expected) in cases {
        let message = refusal(&with_shapes(down, up)).to_string();
        assert!(
            message.contains(expected),
            "{down:?} and {up:?} gave: {message}"
        );
    }

    let tucker = |down: &[usize], mid: &[usize]| {
        let tensors: [(&str, Dtype, &[usize]); 3] = [
            (&key("lora_down.weight"), Dtype::F16, down),
            (&key("lora_mid.weight"), Dtype::F16, mid),
            (&key("lora_up.weight"), Dtype::F16, &[4, 2, 1, 1]),
        ];
        foreign_file(&tensors, 0)
    };
    let cases: [(&[usize], &[usize]); 6] = [
        (&[2, 3, 3, 3], &[2, 2, 3, 3]),
        (&[2, 3, 1, 1], &[2, 3, 3, 3]),
        (&[2, 3, 1, 1], &[3, 2, 3, 3]),
        (&[2, 3, 1, 1], &[2, 2]),
        (&[2, 3, 1, 1], &[2, 2, 0, 3]),
        (&[2, 3, 1, 1], &[]),
    ];
    for (down, mid) in cases {
        let message = refusal(&tucker(down, mid)).to_string();
        let words = "no kernel of shape [rank, rank, height, width] fits between";
        assert!(message.contains(words), "{down:?}, {mid:?}: {message}");
    }
    let mid_alone = foreign_file(&[(&key("lora_mid.weight"), Dtype::F16, &[2, 2, 3, 3])], 0);
    for error in [refusal(&mid_alone), survey_of(&mid_alone).unwrap_err()] {
        assert!(
            matches!(error, LoraFileError::MissingPart { part: "down", .. }),
            "got {error}"
        );
    }

    let down_only = foreign_file(&[(&key("lora_down.weight"), Dtype::F16, &[2, 3])], 0);
    let error = refusal(&down_only);
    assert!(
        matches!(error, LoraFileError::MissingPart { part: "up", .. }),
        "got {error}"
    );

    let twice = foreign_file(
        &[
            (&key("lora_down.weight"), Dtype::F16, &[2, 3]),
            (
                "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
                Dtype::F16,
                &[2, 3],
            ),
        ],
        0,
    );
    let error = refusal(&twice);
    assert!(
        matches!(error, LoraFileError::DuplicateModule { .. }),
        "got {error}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    // 0xffff is a NaN in half precision.
    let file = foreign_file(
        &[
            (&key("lora_down.weight"), Dtype::F16, &[2, 3]),
            (&key("lora_up.weight"), Dtype::F16, &[4, 2]),
        ],
        0xff,
    );
    let message = refusal(&file).to_string();
    assert!(message.contains("not a number"), "NaN gave: {message}");
}

#[test]
fn a_value_too_large_for_half_precision_is_an_error_with_a_remedy() {
    let mut lora = example();
    lora.modules.get_mut(LINEAR).unwrap().up.data[0] = 70_000.0;
    let message = lora
        .write(Precision::F16)
        .expect_err("70000 is infinite in F16")
        .to_string();
    assert!(
        message.contains("full precision"),
        "the remedy is missing: {message}"
    );
    assert!(lora.write(Precision::F32).is_ok(), "and it helps");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let refused = |change: &dyn Fn(&mut LoraFile)| {
        let mut lora = example();
        change(&mut lora);
        lora.write(Precision::F32)
            .expect_err("this must not be written")
    };
    let error = refused(&|lora| lora.modules.clear());
    assert!(matches!(error, LoraFileError::Empty), "got {error}");
    let error = refused(&|lora| lora.modules.get_mut(LINEAR).unwrap().alpha = f32::NAN);
    assert!(
        matches!(error, LoraFileError::UnwritableModule { .. }),
        "got {error}"
    );
    let error = refused(&|lora| lora.modules.get_mut(LINEAR).unwrap().up.shape[1] = 3);
    assert!(
        matches!(error, LoraFileError::UnwritableModule { .. }),
        "got {error}"
    );
    for name in [
        "",
        "to_q",
        "lora_unet_",
        "lora_unet_a.b",
        "unet.mid_block.proj",
    ] {
        let error = refused(&|lora| {
            let module = lora.modules[LINEAR].clone();
            lora.modules.insert(name.to_owned(), module);
        });
        assert!(
            matches!(error, LoraFileError::UnwritableName { .. }),
            "{name:?} gave {error}"
        );
    }
    let error = refused(&|lora| {
        lora.metadata
            .insert("tags".to_owned(), " ".repeat(MAX_METADATA_BYTES));
    });
    assert!(
        matches!(error, LoraFileError::UnwritableMetadata { .. }),
        "got {error}"
    );
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let whole = example().write(Precision::F16).unwrap();
    for length in 0..whole.len() {
        let error = refusal(&whole[..length]);
        assert!(
            matches!(error, LoraFileError::Checkpoint(_)),
            "{length} bytes gave: {error}"
        );
    }
}

fn any_array(shape: Vec<usize>) -> impl Strategy<Value = Array> {
    let count = shape.iter().product::<usize>();
    prop::collection::vec(-1e4_f32..1e4, count).prop_map(move |data| Array {
        shape: shape.clone(),
        data,
    })
}

fn any_module() -> impl Strategy<Value = LoraModule> {
    (
        1..4_usize,
        1..5_usize,
        1..5_usize,
        any::<bool>(),
        0.0..8.0_f32,
    )
        .prop_flat_map(|(rank, inputs, outputs, is_convolution, alpha)| {
            let (mut down, mut up) = (vec![rank, inputs], vec![outputs, rank]);
            if is_convolution {
                down.extend([1, 1]);
                up.extend([1, 1]);
            }
            (any_array(down), any_array(up)).prop_map(move |(down, up)| LoraModule {
                mid: None,
                down,
                up,
                alpha,
            })
        })
}

fn any_lora() -> impl Strategy<Value = LoraFile> {
    let modules =
        prop::collection::btree_map("lora_(unet|te|te1|te2)_[a-z0-9_]{1,12}", any_module(), 1..4);
    let metadata = prop::collection::btree_map("[a-z_.]{1,12}", "\\PC{0,40}", 0..4);
    (modules, metadata).prop_map(|(modules, metadata)| LoraFile {
        modules,
        metadata,
        reading: Reading::default(),
    })
}

proptest! {
    #[test]
    fn any_lora_survives_the_way_through_a_file(lora in any_lora()) {
        let bytes = lora.write(Precision::F32).unwrap();
        let back = read(&bytes).unwrap();
        prop_assert_eq!(&back.modules, &lora.modules, "full precision is exact");
        for (key, value) in &lora.metadata {
            prop_assert_eq!(back.metadata.get(key), Some(value), "metadata {}", key);
        }
        prop_assert_eq!(back.write(Precision::F32).unwrap(), bytes, "one form only");
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        place in any::<prop::sample::Index>(),
        damage in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut bytes = example().write(Precision::F16).unwrap();
        let start = place.index(bytes.len());
        for (place, byte) in bytes[start..].iter_mut().zip(damage) {
            *place = byte;
        }
        match read(&bytes) {
            Ok(lora) => {
                for (name, module) in &lora.modules {
                    prop_assert!(module.check().is_ok(), "{} was let through", name);
                }
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(!message.contains(char::is_control), "one line: {:?}", message);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err(), "noise is no LoRA");
    }

    #[test]
    fn what_is_known_at_a_glance_is_what_is_read(
        tensors in prop::collection::btree_map(
            (0..NAMES.len(), 0..PARTS.len()),
            0..SHAPES.len(),
            1..12,
        ),
        fill in prop::sample::select(vec![0_u8, 0x3c]),
    ) {
        let keys = tensors.iter().map(|((name, part), shape)| {
            (format!("{}.{}", NAMES[*name], PARTS[*part]), SHAPES[*shape])
        });
        let keys: Vec<(String, &[usize])> = keys.collect();
        let tensors: Vec<(&str, Dtype, &[usize])> =
            keys.iter().map(|(key, shape)| (&**key, Dtype::F16, *shape)).collect();
        let file = foreign_file(&tensors, fill);
        if let Ok(lora) = read(&file) {
            let surveyed = survey_of(&file);
            prop_assert_eq!(surveyed.is_ok(), lora.check_applies("test").is_ok(), "{:?}", keys);
            if let Ok(remarks) = surveyed {
                prop_assert_eq!(remarks, lora.remarks(), "{:?}", keys);
            }
        }
    }
}

/// Of what random files are made: names of every part and of none, what a tensor may be to them, shapes that
/// fit together and others.
const NAMES: [&str; 5] = [
    LINEAR,
    CONVOLUTION,
    "lora_unet_mid_block_attentions_0_norm",
    "lora_te_text_model_encoder_layers_0_mlp_fc1",
    "unet.mid_block.resnets.0.conv1",
];
const PARTS: [&str; 7] = [
    "lora_down.weight",
    "lora_up.weight",
    "lora_mid.weight",
    "alpha",
    "dora_scale",
    "diff_b",
    "hada_w1_a",
];
const SHAPES: [&[usize]; 6] = [&[2, 2], &[2, 2, 1, 1], &[2, 2, 3, 3], &[3, 2], &[1], &[]];
