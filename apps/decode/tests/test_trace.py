"""``trace``: one page, complete in itself."""

import json


def test_trace_writes_one_self_contained_page(ar_decode, plain_model, tmp_path):
    page = tmp_path / "replay.html"
    assert (
        ar_decode("trace", plain_model, "ab ab ab", "x </script> y", "-o", page, "-n", 11, "--draft-length", 3).code
        == 0
    )
    text = page.read_text(encoding="utf-8")
    for forbidden in ("http://", "https://", "src=", "href=", "@import", "url("):
        assert forbidden not in text
    assert "default-src 'none'" in text
    start = text.index('class="data">') + len('class="data">')
    scenes = json.loads(text[start : text.index("</script>", start)])
    assert [scene["prompt"] for scene in scenes] == ["ab ab ab", "x </script> y"]
    for scene in scenes:
        assert [replay["name"] for replay in scene["replays"]] == ["ar", "lookup"]
        for replay in scene["replays"]:
            fixed = sorted(at for one in replay["passes"] for at in one["positions"])
            assert fixed == list(range(len(replay["tokens"])))
        assert "".join(scene["replays"][0]["tokens"]) == "".join(scene["replays"][1]["tokens"])
