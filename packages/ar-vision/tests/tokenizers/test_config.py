import subprocess
import sys

import pytest
from ar_core.config import from_dict, to_dict
from ar_core.errors import ConfigError
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.vq.config import PRESETS, VqTokenizerConfig


@pytest.mark.parametrize("room", ["var_vqvae", "vq"])
def test_settings_import_no_torch(room):
    code = f"import sys, ar_vision.tokenizers.{room}.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("config", [VarTokenizerConfig(), *PRESETS.values()])
def test_settings_survive_as_plain_data(config):
    assert from_dict(type(config), to_dict(config)) == config


def test_misspelt_settings_are_named():
    with pytest.raises(ConfigError, match=r"autoencoder\.chanels.*channels"):
        from_dict(VqTokenizerConfig, {"autoencoder": {"chanels": 32}})
