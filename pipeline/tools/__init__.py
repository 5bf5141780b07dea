"""Commands beside the stages: degrade, upscale, convert, niqe-fit, doctor, profiles."""
