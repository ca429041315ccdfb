use serde_json::json;

use super::*;

/// As the bundled base's, in the fields that have no default for all.
fn unet(changed: Value) -> Result<UNetConfig, ConfigError> {
    let mut json = json!({
        "_class_name": "UNet2DConditionModel",
        "block_out_channels": [64, 96],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "cross_attention_dim": 64,
    });
    change(&mut json, changed);
    UNetConfig::from_json(&json.to_string())
}

fn scheduler(changed: Value) -> Result<SchedulerConfig, ConfigError> {
    let mut json = json!({
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
    });
    change(&mut json, changed);
    SchedulerConfig::from_json(&json.to_string())
}

fn change(json: &mut Value, changed: Value) {
    let (Value::Object(json), Value::Object(changed)) = (json, changed) else {
        panic!("two objects");
    };
    json.extend(changed);
}

/// Every part of a refusal: the field, its value, and the file.
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, ConfigError>, words: &[&str]) {
    let sentence = answer.expect_err("this must be refused").to_string();
    for word in words {
        assert!(sentence.contains(word), "{word:?} in: {sentence}");
    }
}

#[test]
fn settings_whose_arithmetic_is_missing_are_refused_by_name() {
    for (field, value, means) in [
        ("time_cond_proj_dim", json!(256), "consistency model"),
        ("mid_block_type", json!(null), "another middle"),
        ("num_class_embeds", json!(1000), "class"),
        ("encoder_hid_dim", json!(768), "text encoder"),
        ("conv_in_kernel", json!(5), "convolution"),
        ("dual_cross_attention", json!(true), "two texts"),
        ("attention_type", json!("gated"), "boxes"),
        ("time_embedding_act_fn", json!("silu"), "timestep"),
        ("quantization_config", json!({"bits": 4}), "quantised"),
        (
            "reverse_transformer_layers_per_block",
            json!([[1, 1]]),
            "way up",
        ),
    ] {
        let words = [field, &value.to_string(), means, "unet/config.json"];
        assert_refused(unet(json!({ field: value.clone() })), &words);
    }
    for (field, value) in [
        // Of a model that predicts noise.
        ("rescale_betas_zero_snr", json!(true)),
        ("thresholding", json!(true)),
        ("use_flow_sigmas", json!(true)),
        ("variance_type", json!("learned_range")),
        ("_class_name", json!("FlowMatchEulerDiscreteScheduler")),
    ] {
        let words = [field, &value.to_string(), "scheduler_config.json"];
        assert_refused(scheduler(json!({ field: value.clone() })), &words);
    }
    let vae = |field: &str, value: Value| VaeConfig::from_json(&json!({field: value}).to_string());
    assert_refused(vae("shift_factor", json!(0.1)), &["shift_factor", "0.1"]);
    assert_refused(vae("latents_mean", json!([0.0])), &["latents_mean"]);
    let types = json!(["AttnDownEncoderBlock2D"]);
    assert_refused(vae("down_block_types", types), &["AttnDownEncoderBlock2D"]);
    let text = |field: &str, value: Value| {
        TextEncoderConfig::from_json(&json!({field: value}).to_string())
    };
    assert_refused(text("model_type", json!("clip")), &["model_type", "clip"]);
    let longer = text("max_position_embeddings", json!(248));
    assert_refused(longer, &["max_position_embeddings", "248"]);
    assert_refused(text("hidden_act", json!("gelu_new")), &["gelu_new"]);
}

#[test]
fn values_that_no_tensor_could_have_are_refused_and_do_not_end_the_program() {
    for (field, value) in [
        ("norm_num_groups", json!(0)),
        ("norm_num_groups", json!(7)),
        ("attention_head_dim", json!(0)),
        ("attention_head_dim", json!([8])),
        ("only_cross_attention", json!([true])),
        ("layers_per_block", json!(0)),
        ("layers_per_block", json!(4_000_000_000_u64)),
        ("layers_per_block", json!([1, 2])),
        ("block_out_channels", json!([])),
        ("block_out_channels", json!([64, 1_u64 << 62])),
        ("sample_size", json!(0)),
        ("mid_block_scale_factor", json!(0)),
        ("addition_embed_type", json!("text_time")),
    ] {
        assert!(
            unet(json!({ field: value.clone() })).is_err(),
            "{field} {value}"
        );
    }
    for (field, value) in [
        ("beta_end", json!(1.5)),
        ("beta_start", json!(-1)),
        ("trained_betas", json!([0.001])),
        ("trained_betas", json!(vec![0.0; 1000])),
        ("steps_offset", json!(1000)),
    ] {
        let answer = scheduler(json!({ field: value }));
        assert!(answer.is_err(), "{field}");
    }
}

#[test]
fn what_means_the_same_is_taken() {
    for (field, value) in [
        ("act_fn", json!("swish")),
        ("downsample_padding", json!(1.0)),
        ("layers_per_block", json!([2, 2])),
        ("cross_attention_dim", json!([64, 64])),
        ("attention_head_dim", json!([8, 4])),
        ("sample_size", json!(null)),
        ("resnet_out_scale_factor", json!(2.0)),
        ("upcast_attention", json!(true)),
    ] {
        let answer = unet(json!({ field: value.clone() }));
        assert!(answer.is_ok(), "{field} {value}: {answer:?}");
    }
    let wide = unet(json!({"sample_size": [64, 96]})).unwrap();
    assert_eq!(wide.sample_side(), 64, "the shorter one of both sides");
}

#[test]
fn text_and_sizes_of_a_picture_need_widths_that_fit() {
    let sized = |sinusoids: Value, width: Value| {
        unet(json!({
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": sinusoids,
            "projection_class_embeddings_input_dim": width,
        }))
    };
    let xl = sized(json!(256), json!(2816)).unwrap().text_time();
    let expected = TextTime {
        pooled_width: 1280,
        sinusoids: 256,
    };
    assert_eq!(xl, Some(expected), "as Stable Diffusion XL has them");
    assert_eq!(expected.width(), 2816, "all of it");
    for (sinusoids, width) in [
        (json!(0), json!(2816)),
        (json!(255), json!(2816)),
        (json!(null), json!(2816)),
        (json!(256), json!(null)),
        (json!(256), json!(1536)),
        (json!(1_u64 << 62), json!(2816)),
    ] {
        let answer = sized(sinusoids.clone(), width.clone());
        assert!(answer.is_err(), "{sinusoids} {width}");
    }
    assert_eq!(unet(json!({})).unwrap().text_time(), None, "of the others");
}

#[test]
fn a_schedule_that_ends_in_pure_noise_does_and_begins_as_before() {
    let velocity = |rescaled: bool| {
        let changed = json!({
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": rescaled,
        });
        scheduler(changed).unwrap().betas()
    };
    let (plain, rescaled) = (velocity(false), velocity(true));
    assert_eq!(
        rescaled.last(),
        Some(&1.0),
        "nothing is left of the picture"
    );
    assert!((plain[0] - rescaled[0]).abs() < 1e-12, "the first timestep");
    assert!(rescaled[1..] > plain[1..], "more noise everywhere else");
}

#[test]
fn where_ddim_ends_follows_the_file_and_then_its_class() {
    let ends = |changed| scheduler(changed).unwrap().ends_at_alpha_one();
    assert!(ends(json!({})), "DDIM's own default");
    assert!(
        !ends(json!({"set_alpha_to_one": false})),
        "as the file says"
    );
    assert!(!ends(json!({"_class_name": "PNDMScheduler"})), "PNDM's");
}
