"""Published names of the parts that TalkNet has, and what its authors' code became later."""

# The beginning of a published name, and what the project calls it.
TALKNET_NAMES = {
    "model.visualFrontend.frontend3D.0.": "visual_frontend.stem_conv.",
    "model.visualFrontend.frontend3D.1.": "visual_frontend.stem_norm.",
    "model.visualFrontend.resnet.": "visual_frontend.",
    "model.visualTCN.": "visual_temporal.",
    "model.visualConv1D.": "visual_projection.",
    "model.audioEncoder.": "audio_encoder.",
    "model.crossA2V.": "cross_audio.",
    "model.crossV2A.": "cross_visual.",
    "lossAV.FC.": "head_av.",
    "lossA.FC.": "head_audio.",
    "lossV.FC.": "head_visual.",
}
