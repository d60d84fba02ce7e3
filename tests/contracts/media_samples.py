"""Pictures, recordings and tiny models that see and hear, for the tests of everything that reads them."""

import io

import numpy as np

SIDE, RATE = 32, 16_000
TONES = {"low": 300.0, "middle": 900.0, "high": 2700.0}
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230)}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
CONVOLUTIONS = {
    **{"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 4), "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 8},
}
"""With other sizes bf16 is wrong on Intel's AMX (docs/architecture.md)."""


def pixels(rng, width=40, height=30, tone=None):
    """Noise, uint8 [height, width, 3], around a colour when one is given."""
    noise = rng.integers(0, 256, (height, width, 3))
    return (noise if tone is None else 0.3 * noise + 0.7 * np.asarray(tone)).astype(np.uint8)


def picture(array, form="PNG", mode="RGB", **options):
    """The bytes of a picture file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(array).convert(mode).save(out, form, **options)
    return out.getvalue()


def wave(rng, seconds=1.0, rate=RATE, tone=440.0):
    """A tone in noise, float32 [samples]."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * tone * time) + 0.02 * rng.normal(size=len(time))).astype(np.float32)


def recording(samples, rate=RATE, form="WAV", subtype=None):
    """The bytes of a sound file; `samples` [S] or [S, channels]."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def saved(folder, model, processor):
    """A model folder that plain transformers opens."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def seeing(folder, kind="vit"):
    """A tiny image encoder with random weights."""
    import torch
    import transformers as tf

    square = {"height": SIDE, "width": SIDE}
    patches = {**SMALL, "image_size": SIDE, "patch_size": 8}
    towers = {"vision_config": patches, "text_config": {**SMALL, "vocab_size": 50}}
    kinds = {
        "vit": (tf.ViTConfig(**patches), tf.ViTModel, tf.ViTImageProcessorPil(size=square)),
        "grey": (
            tf.ViTConfig(num_channels=1, **patches),
            tf.ViTModel,
            tf.ViTImageProcessorPil(size=square, image_mean=[0.4], image_std=[0.2]),
        ),
        "resnet": (
            tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"),
            tf.ResNetModel,
            tf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}),
        ),
        "clip": (tf.CLIPConfig(**towers), tf.CLIPModel, tf.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square)),
    }
    config, model, processor = kinds[kind]
    torch.manual_seed(3)
    return saved(folder, model(config), processor)


def hearing(folder, kind="whisper"):
    """A tiny audio encoder with random weights."""
    import torch
    import transformers as tf

    both = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in (("layers", 2), ("attention_heads", 2))}
    ids = {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    waves = {**SMALL, **CONVOLUTIONS}
    tower = {"spec_size": 128, "num_mel_bins": 32, "patch_embeds_hidden_size": 8, "depths": (1, 1), "num_attention_heads": (1, 2)}
    tower |= {"hidden_size": 16, "num_hidden_layers": 2, "aff_block_r": 2, "hidden_dropout_prob": 0.0}
    fused = {"enable_fusion": True, "fusion_type": None}
    heard = {"feature_size": 32, "sampling_rate": 8000, "hop_length": 160, "fft_window_size": 256, "frequency_max": 4000}
    texts = {**SMALL, "vocab_size": 50}
    kinds = {
        "clap": (
            tf.ClapConfig(audio_config=tower, text_config=texts, projection_dim=12),
            tf.ClapModel,
            tf.ClapFeatureExtractor(truncation="rand_trunc", **heard),
        ),
        "fused clap": (
            tf.ClapConfig(audio_config=tower | fused, text_config=texts, projection_dim=12),
            tf.ClapModel,
            tf.ClapFeatureExtractor(**heard),
        ),
        "whisper": (
            tf.WhisperConfig(d_model=16, encoder_ffn_dim=24, decoder_ffn_dim=24, classifier_proj_size=8, **both, **ids),
            tf.WhisperModel,
            tf.WhisperFeatureExtractor(),
        ),
        "ast": (tf.ASTConfig(**SMALL), tf.ASTModel, tf.ASTFeatureExtractor()),
        "waves": (tf.Wav2Vec2Config(**waves), tf.Wav2Vec2Model, tf.Wav2Vec2FeatureExtractor(return_attention_mask=True)),
        "masked waves": (
            tf.Wav2Vec2Config(feat_extract_norm="layer", do_stable_layer_norm=True, **waves),
            tf.Wav2Vec2Model,
            tf.Wav2Vec2FeatureExtractor(return_attention_mask=True),
        ),
        "masked spectrograms": (
            tf.Wav2Vec2BertConfig(
                feature_projection_input_dim=160, conv_depthwise_kernel_size=5, classifier_proj_size=8, output_hidden_size=16, **SMALL
            ),
            tf.Wav2Vec2BertModel,
            tf.SeamlessM4TFeatureExtractor(),
        ),
    }
    config, model, processor = kinds[kind]
    torch.manual_seed(3)
    return saved(folder, model(config), processor)
