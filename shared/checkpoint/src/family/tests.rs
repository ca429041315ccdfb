use std::collections::BTreeMap;

use pollster::block_on;

use super::*;
use crate::{Array, Dtype, EmbeddedFolder, LoraModule, MemoryFile, safetensors::write::TensorData};

/// A file of F16 zeros, except where values are given.
fn file_of(tensors: &[(&str, &[usize], Option<f32>)]) -> SafetensorsFile {
    let tensors = tensors
        .iter()
        .map(|(name, shape, spread)| {
            let count: usize = shape.iter().product();
            let value = |index: usize| if index.is_multiple_of(2) { 1.0 } else { -1.0 };
            let bytes = (0..count)
                .map(|index| half::f16::from_f32(spread.unwrap_or(0.0) * value(index)))
                .flat_map(half::f16::to_le_bytes)
                .collect();
            ((*name).to_owned(), (shape.to_vec(), bytes))
        })
        .collect();
    let data = TensorData::new(Dtype::F16, tensors);
    let bytes = [data.header(&BTreeMap::new()), data.bytes().to_vec()].concat();
    block_on(SafetensorsFile::open(Box::new(MemoryFile::new(
        "model", bytes,
    ))))
    .unwrap()
}

const LDM_CONV_IN: &str = "model.diffusion_model.input_blocks.0.0.weight";
const LDM_TO_K: &str =
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";
const LDM_LABEL: &str = "model.diffusion_model.label_emb.0.0.weight";
const SD2_BIAS: &str = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";

fn family_of(tensors: &[(&str, &[usize], Option<f32>)]) -> Family {
    block_on(Family::of_file(&file_of(tensors))).unwrap()
}

#[test]
fn the_width_of_cross_attention_tells_the_kinds_apart() {
    let sd1 = family_of(&[
        (LDM_CONV_IN, &[320, 4, 3, 3], None),
        (LDM_TO_K, &[640, 768], None),
    ]);
    assert_eq!(sd1.architecture, Architecture::Sd1, "width 768");
    assert!(!sd1.is_inpainting(), "four input channels");

    let inpainting = family_of(&[
        (LDM_CONV_IN, &[320, 9, 3, 3], None),
        (LDM_TO_K, &[640, 768], None),
    ]);
    assert!(inpainting.is_inpainting(), "nine input channels");

    let sdxl = family_of(&[
        (LDM_CONV_IN, &[320, 4, 3, 3], None),
        (LDM_TO_K, &[640, 2048], None),
        (LDM_LABEL, &[1, 1], None),
        ("v_pred", &[0], None),
        ("ztsnr", &[0], None),
    ]);
    assert_eq!(
        sdxl.architecture,
        Architecture::Sdxl,
        "width 2048 with size conditioning"
    );
    assert_eq!(
        sdxl.prediction_type,
        PredictionType::VPrediction,
        "it carries the mark"
    );
    assert!(sdxl.zero_terminal_snr, "it carries that mark too");

    let small = family_of(&[
        ("conv_in.weight", &[64, 4, 3, 3], None),
        (
            "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            &[128, 64],
            None,
        ),
    ]);
    assert_eq!(
        small.architecture,
        Architecture::Sd1Like,
        "diffusers names, other sizes"
    );
    let newer = |more: &[(&str, &[usize], Option<f32>)]| {
        let tensors: [(&str, &[usize], Option<f32>); 3] = [
            ("conv_in.weight", &[64, 4, 3, 3], None),
            (
                "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
                &[128, 64],
                None,
            ),
            ("mid_block.attentions.0.proj_in.weight", &[128, 128], None),
        ];
        family_of(&[&tensors, more].concat()).architecture
    };
    assert_eq!(newer(&[]), Architecture::Sd2Like, "linear projections");
    let sizes: (&str, &[usize], Option<f32>) = ("add_embedding.linear_1.weight", &[1, 1], None);
    assert_eq!(newer(&[sizes]), Architecture::SdxlLike, "and sizes");
    assert_eq!(small.context_width, 64, "as its weights say");
}

#[test]
fn stable_diffusion_2_shows_its_prediction_in_a_bias() {
    for (spread, expected) in [
        (0.05, PredictionType::Epsilon),
        (0.2, PredictionType::VPrediction),
    ] {
        let family = family_of(&[
            (LDM_CONV_IN, &[320, 4, 3, 3], None),
            (LDM_TO_K, &[640, 1024], None),
            (SD2_BIAS, &[320], Some(spread)),
        ]);
        assert_eq!(family.architecture, Architecture::Sd2, "width 1024");
        assert_eq!(family.prediction_type, expected, "deviation {spread}");
    }
}

#[test]
fn files_without_a_unet_are_called_by_their_name() {
    let cases: [(&str, &str); 5] = [
        ("lora_unet_mid_block_attentions_0_proj_in.alpha", "a LoRA"),
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("decoder.conv_in.weight", "a VAE"),
        (
            "text_model.embeddings.position_embedding.weight",
            "a text encoder",
        ),
        ("something.weight", "a file without a UNet"),
    ];
    for (name, expected) in cases {
        let answer = block_on(Family::of_file(&file_of(&[(name, &[1], None)])));
        let message = answer.expect_err("there is no UNet").to_string();
        assert!(message.contains(expected), "{name} gave: {message}");
    }
    let edm = [
        (LDM_CONV_IN, [320_usize, 4, 3, 3].as_slice(), None),
        ("edm_vpred.sigma_max", &[], None),
    ];
    let answer = block_on(Family::of_file(&file_of(&edm)));
    assert!(
        answer.is_err(),
        "another noise schedule would train nonsense"
    );
}

const UNET: &[u8] = br#"{
    "in_channels": 4, "block_out_channels": [64, 96, 128], "cross_attention_dim": 64,
    "layers_per_block": 1, "addition_embed_type": null,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
}"#;

#[test]
fn a_folder_tells_by_its_configurations() {
    const BASE: EmbeddedFolder = EmbeddedFolder {
        name: "base",
        files: &[
            ("unet/config.json", UNET),
            (
                "scheduler/scheduler_config.json",
                br#"{"prediction_type": "v_prediction"}"#,
            ),
        ],
    };
    let family = block_on(Family::of(&BASE)).unwrap();
    assert_eq!(
        family.architecture,
        Architecture::Sd1Like,
        "as small as the bundled base"
    );
    assert_eq!(
        family.prediction_type,
        PredictionType::VPrediction,
        "the scheduler says so"
    );
    let layout = block_on(unet_layout(&BASE)).unwrap();
    let expected = UnetLayout {
        layers_per_block: 1,
        down_attention: vec![true, true, false],
        up_attention: vec![false, true, true],
    };
    assert_eq!(layout, expected, "its blocks");
}

#[test]
fn hostile_and_foreign_configurations_are_refused() {
    const ENDLESS: EmbeddedFolder = EmbeddedFolder {
        name: "endless",
        files: &[(
            "unet/config.json",
            br#"{"in_channels": 4, "block_out_channels": [320], "cross_attention_dim": 768,
                "layers_per_block": 4000000000, "down_block_types": ["DownBlock2D"],
                "up_block_types": ["UpBlock2D"]}"#,
        )],
    };
    const FOREIGN: EmbeddedFolder = EmbeddedFolder {
        name: "foreign",
        files: &[
            ("unet/config.json", b"{\"in_channels\": \"four\"}"),
            ("scheduler/scheduler_config.json", b"{}"),
        ],
    };
    let answer = block_on(unet_layout(&ENDLESS));
    assert!(
        matches!(answer, Err(CheckpointError::UnknownFamily { .. })),
        "got {answer:?}"
    );
    let answer = block_on(Family::of(&FOREIGN));
    assert!(
        matches!(answer, Err(CheckpointError::BadConfig { .. })),
        "got {answer:?}"
    );
}

#[test]
fn a_model_without_a_unet_is_called_by_its_pipeline() {
    const FLUX: EmbeddedFolder = EmbeddedFolder {
        name: "flux",
        files: &[(
            "model_index.json",
            br#"{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}"#,
        )],
    };
    const SD3: EmbeddedFolder = EmbeddedFolder {
        name: "sd3",
        files: &[(
            "model_index.json",
            br#"{"_class_name": "StableDiffusion3Pipeline"}"#,
        )],
    };
    const INCOMPLETE: EmbeddedFolder = EmbeddedFolder {
        name: "sd15",
        files: &[(
            "model_index.json",
            br#"{"_class_name": "StableDiffusionPipeline"}"#,
        )],
    };
    const EMPTY: EmbeddedFolder = EmbeddedFolder {
        name: "empty",
        files: &[],
    };
    for (folder, expected) in [
        (FLUX, "This is a model for diffusers' FluxPipeline"),
        (
            SD3,
            "This is a model for diffusers' StableDiffusion3Pipeline",
        ),
        (INCOMPLETE, "The folder lacks \"unet/config.json\""),
        (EMPTY, "The folder lacks \"unet/config.json\""),
    ] {
        let error = block_on(Family::of(&folder)).unwrap_err();
        let sentence = error.to_string();
        assert!(
            sentence.starts_with(expected),
            "{}: {sentence}",
            folder.name
        );
    }
}

#[test]
fn a_lora_tells_by_the_width_of_its_key_projections() {
    for (width, expected) in [
        (768, Architecture::Sd1),
        (2048, Architecture::Sdxl),
        (1024, Architecture::Sd2),
        (64, Architecture::Sd1Like),
    ] {
        let down = Array {
            shape: vec![1, width],
            data: vec![0.0; width],
        };
        let up = Array {
            shape: vec![1, 1],
            data: vec![0.0],
        };
        let name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k";
        let modules = BTreeMap::from([(
            name.to_owned(),
            LoraModule {
                mid: None,
                down,
                up,
                alpha: 1.0,
            },
        )]);
        let lora = LoraFile {
            modules,
            ..LoraFile::default()
        };
        assert_eq!(lora_architecture(&lora), Some(expected), "width {width}");
    }
    for (block, shape, expected) in [
        (
            "mid_block_attentions_0",
            vec![1, 64, 1, 1],
            Architecture::Sd1Like,
        ),
        ("mid_block_attentions_0", vec![1, 64], Architecture::Sd2Like),
        ("middle_block_1", vec![1, 64], Architecture::SdxlLike),
        ("middle_block_1", vec![1, 64, 1, 1], Architecture::Sd1Like),
    ] {
        let module = |shape: Vec<usize>| LoraModule {
            mid: None,
            down: Array {
                data: vec![0.0; 64],
                shape,
            },
            up: Array {
                shape: vec![64, 1],
                data: vec![0.0; 64],
            },
            alpha: 1.0,
        };
        let name = |part: &str| format!("lora_unet_{block}_{part}");
        let modules = BTreeMap::from([
            (name("transformer_blocks_0_attn2_to_k"), module(vec![1, 64])),
            (name("proj_in"), module(shape.clone())),
        ]);
        let lora = LoraFile {
            modules,
            ..LoraFile::default()
        };
        let found = lora_architecture(&lora);
        assert_eq!(found, Some(expected), "{block} with {shape:?}");
    }
    assert_eq!(
        lora_architecture(&LoraFile::default()),
        None,
        "nothing to tell by"
    );
}

#[test]
fn one_place_says_what_may_be_trained_and_names_what_may_not() {
    const REFINER: EmbeddedFolder = EmbeddedFolder {
        name: "refiner",
        files: &[
            (
                "unet/config.json",
                br#"{"block_out_channels": [384, 768, 1536, 1536], "cross_attention_dim": 1280,
                    "addition_embed_type": "text_time"}"#,
            ),
            ("scheduler/scheduler_config.json", b"{}"),
        ],
    };
    // SSD-1B is of a kind that is trained, with lists in lists, which are refused by name.
    const DISTILLED: EmbeddedFolder = EmbeddedFolder {
        name: "distilled",
        files: &[
            (
                "unet/config.json",
                br#"{"cross_attention_dim": 2048, "addition_embed_type": "text_time",
                    "transformer_layers_per_block": [0, 2, [4, 4]]}"#,
            ),
            ("scheduler/scheduler_config.json", b"{}"),
        ],
    };
    const MASKED: EmbeddedFolder = EmbeddedFolder {
        name: "masked",
        files: &[
            (
                "unet/config.json",
                br#"{"cross_attention_dim": 768, "in_channels": 9}"#,
            ),
            (
                "scheduler/scheduler_config.json",
                br#"{"prediction_type": null}"#,
            ),
        ],
    };
    let family = |folder| block_on(Family::of(folder)).unwrap();
    let refiner = family(&REFINER).check_trainable().unwrap_err();
    let title = "Stable Diffusion XL refiner";
    assert_eq!(refiner.to_string(), title, "by its name");
    assert_eq!(family(&DISTILLED).check_trainable(), Ok(()), "XL");
    let (_, config) = DISTILLED.files[0];
    let refused = UNetConfig::from_json(std::str::from_utf8(config).unwrap());
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.contains("transformer_layers_per_block to [0,2,[4,4]]"),
        "{sentence}"
    );
    let masked = family(&MASKED).check_trainable();
    assert_eq!(masked, Err(Untrainable::Inpainting), "nine channels");
    let sd1 = family_of(&[
        (LDM_CONV_IN, &[320, 4, 3, 3], None),
        (LDM_TO_K, &[640, 768], None),
    ]);
    assert_eq!(sd1.check_trainable(), Ok(()), "Stable Diffusion 1");
}

#[test]
fn a_model_that_predicts_something_else_is_called_by_it() {
    const PICTURE: EmbeddedFolder = EmbeddedFolder {
        name: "picture",
        files: &[
            ("unet/config.json", UNET),
            (
                "scheduler/scheduler_config.json",
                br#"{"prediction_type": "sample"}"#,
            ),
        ],
    };
    let sentence = block_on(Family::of(&PICTURE)).unwrap_err().to_string();
    assert!(
        sentence.starts_with("This is a model that predicts \"sample\""),
        "{sentence}"
    );
}

#[test]
fn models_around_a_unet_of_their_own_are_called_by_their_name() {
    let unet = |channels: usize, width: usize| {
        [
            (LDM_CONV_IN, vec![320, channels, 3, 3]),
            (LDM_TO_K, vec![640, width]),
        ]
    };
    let cases: [(usize, usize, &str, &str); 11] = [
        (8, 768, "x", "instruct-pix2pix"),
        (5, 1024, "x", "a depth model"),
        (7, 1024, "x", "an upscaler"),
        (4, 1024, LDM_LABEL, "an unCLIP model"),
        (
            8,
            1024,
            "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.2.weight",
            "Stable Video Diffusion",
        ),
        (8, 768, "cc_projection.weight", "Zero123"),
        (
            4,
            2048,
            "model.diffusion_model.encoder_hid_proj.weight",
            "Kolors",
        ),
        (
            4,
            768,
            "down_blocks.0.motion_modules.0.norm.weight",
            "AnimateDiff",
        ),
        (4, 2048, "edm_mean", "Playground"),
        (
            4,
            768,
            "controlnet_cond_embedding.conv_in.weight",
            "a ControlNet",
        ),
        (
            4,
            768,
            "temporal_transformer_blocks.0.weight",
            "makes videos",
        ),
    ];
    for (channels, width, key, expected) in cases {
        let shapes = unet(channels, width);
        let mut tensors: Vec<(&str, &[usize], Option<f32>)> = shapes
            .iter()
            .map(|(name, shape)| (*name, shape.as_slice(), None))
            .collect();
        tensors.push((key, &[1, 1], None));
        let answer = block_on(Family::of_file(&file_of(&tensors)));
        let message = answer.expect_err("another model").to_string();
        assert!(message.contains(expected), "{key} gave: {message}");
    }
}

#[test]
fn transformers_of_today_are_called_by_their_name() {
    let cases: [(&str, &str); 14] = [
        ("distilled_guidance_layer.in_proj.bias", "Chroma"),
        ("single_stream_modulation.lin.weight", "Flux 2"),
        (
            "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
            "Stable Diffusion 3",
        ),
        ("transformer_blocks.0.img_mlp.net.2.weight", "Qwen-Image"),
        ("layers.0.adaLN_modulation.0.weight", "Z-Image"),
        ("cap_embedder.0.weight", "Lumina"),
        ("model.diffusion_model.head.modulation", "Wan"),
        ("net.llm_adapter.blocks.0.cross_attn.q_proj.weight", "Anima"),
        ("net.x_embedder.proj.1.weight", "Cosmos"),
        ("double_layers.0.attn.w2q.weight", "AuraFlow"),
        (
            "unet.mid_block.attentions.0.proj_in.lora_A.weight",
            "a LoRA",
        ),
        (
            "unet.mid_block.attn_processors.to_q_lora.down.weight",
            "a LoRA",
        ),
        ("control_model.time_embed.0.weight", "ControlNet"),
        ("input_blocks.0.0.weight", "a UNet alone"),
    ];
    for (name, expected) in cases {
        let answer = block_on(Family::of_file(&file_of(&[(name, &[1], None)])));
        let message = answer.expect_err("there is no UNet").to_string();
        assert!(message.contains(expected), "{name} gave: {message}");
    }
}
