"""Profiles that cannot be read, and profiles of something else."""

import json


def test_a_profile_that_is_none(refused, plain_model, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text("{")
    refused("text", plain_model, "Hi", "-m", "lookup", "--profile", path, says="ar-decode tune")
    path.write_text('{"model": "m"}')
    refused("text", plain_model, "Hi", "-m", "lookup", "--profile", path, says="'dtype' is missing")


def test_a_profile_of_something_else(ar_decode, refused, plain_model, copy, tmp_path):
    path = tmp_path / "profile.json"
    assert ar_decode("tune", plain_model, "-o", path, "--rounds", 1, "--context", 16).code == 0
    decode = ("text", plain_model, "Hi", "--profile", path, "-n", 3)
    assert ar_decode(*decode, "-m", "lookup").code == 0
    refused(*decode, says=("settings for lookup, and none for 'ar'", "leave --profile out"))
    refused(*decode, "-m", "jacobi", says=("none for 'jacobi'", "ar-decode tune MODEL --method jacobi"))
    refused(*decode, "-m", "lookup", "--dtype", "float64", says="made for the dtype 'float32', and this is 'float64'")
    refused("text", copy, "Hi", "--profile", path, "-m", "lookup", says=("made for the model", str(copy)))
    data = json.loads(path.read_text())
    data["environment"]["device"]["name"] = "Abacus"
    path.write_text(json.dumps(data))
    refused(*decode, "-m", "lookup", says="made for the device 'Abacus'")
