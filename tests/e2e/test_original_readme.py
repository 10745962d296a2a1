"""Steps 1 to 11 of the original's README, as a user of it types them, in a fresh copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
import yaml

ROOT = Path(__file__).parents[2]

# Only --epochs and --max-drop are not the original's: they save a minute, and what they cut short has tests of its own
# in test_compress_command.py. The work directory has no blank in it: the original's commands do not quote it.
STEPS = r"""
set -e
cd models/object_detection
./init_venv.sh
source venv/bin/activate

export MODEL_TEMPLATE=$(realpath ./model_templates/custom-object-detection/mobilenet_v2-2s_ssd-256x256/template.yaml)
python ../../tools/instantiate_template.py ${MODEL_TEMPLATE} ${WORK_DIR}

export OBJ_DET_DIR=`pwd`
export TRAIN_ANN_FILE="${OBJ_DET_DIR}/../../data/airport/annotation_example_train.json"
export TRAIN_IMG_ROOT="${OBJ_DET_DIR}/../../data/airport/train"
export VAL_ANN_FILE="${OBJ_DET_DIR}/../../data/airport/annotation_example_val.json"
export VAL_IMG_ROOT="${OBJ_DET_DIR}/../../data/airport/val"

cd ${WORK_DIR}
export CLASSES="vehicle,person,non-vehicle"

python train.py \
   --load-weights ${WORK_DIR}/snapshot.pth \
   --train-ann-files ${TRAIN_ANN_FILE} \
   --train-data-roots ${TRAIN_IMG_ROOT} \
   --val-ann-files ${VAL_ANN_FILE} \
   --val-data-roots ${VAL_IMG_ROOT} \
   --save-checkpoints-to ${WORK_DIR}/outputs \
   --classes ${CLASSES} \
   --epochs 1

python eval.py \
   --load-weights ${WORK_DIR}/outputs/latest.pth \
   --test-ann-files ${VAL_ANN_FILE} \
   --test-data-roots ${VAL_IMG_ROOT} \
   --save-metrics-to ${WORK_DIR}/metrics.yaml \
   --classes ${CLASSES}

python eval.py \
   --load-weights ${WORK_DIR}/outputs/latest.pth \
   --test-ann-files ${VAL_ANN_FILE} \
   --test-data-roots ${VAL_IMG_ROOT} \
   --save-metrics-to ${WORK_DIR}/metrics.yaml \
   --save-output-to ${WORK_DIR}/output_images \
   --classes ${CLASSES}

python export.py \
   --load-weights ${WORK_DIR}/outputs/latest.pth \
   --save-model-to ${WORK_DIR}/export

python eval.py \
   --load-weights ${WORK_DIR}/export/model.bin \
   --test-ann-files ${VAL_ANN_FILE} \
   --test-data-roots ${VAL_IMG_ROOT} \
   --save-metrics-to ${WORK_DIR}/exported_metrics.yaml \
   --classes ${CLASSES}

python compress.py \
   --load-weights ${WORK_DIR}/outputs/latest.pth \
   --train-ann-files ${TRAIN_ANN_FILE} \
   --train-data-roots ${TRAIN_IMG_ROOT} \
   --val-ann-files ${VAL_ANN_FILE} \
   --val-data-roots ${VAL_IMG_ROOT} \
   --save-checkpoints-to ${WORK_DIR}/compressed \
   --nncf-quantization --max-drop 100

python eval.py \
   --load-weights ${WORK_DIR}/compressed/latest.pth \
   --test-ann-files ${VAL_ANN_FILE} \
   --test-data-roots ${VAL_IMG_ROOT} \
   --save-metrics-to ${WORK_DIR}/compressed/metrics.yaml \
   --classes ${CLASSES}

python export.py \
   --load-weights ${WORK_DIR}/compressed/latest.pth \
   --save-model-to ${WORK_DIR}/compressed/export

python eval.py \
   --load-weights ${WORK_DIR}/compressed/export/model.bin \
   --test-ann-files ${VAL_ANN_FILE} \
   --test-data-roots ${VAL_IMG_ROOT} \
   --save-metrics-to ${WORK_DIR}/compressed/exported_metrics.yaml \
   --classes ${CLASSES}
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of the repository as they are in the working tree, symbolic links kept, nothing that git ignores."""
    if not (ROOT / ".git").exists():
        pytest.skip("which files belong to the repository is known to git only")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    folder = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.mark.e2e
@pytest.mark.skipif(os.name == "nt", reason="the steps are for bash")
def test_steps_1_to_11(clone, tmp_path):
    work = tmp_path / "my_model"
    # Nothing of the environment in which the tests run may stand in for what init_venv.sh installs.
    environment = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    # A user's pip compiles all that it installs, also what is never imported.
    environment |= {"WORK_DIR": str(work), "PIP_NO_COMPILE": "1"}
    done = subprocess.run(
        ["bash", "-c", STEPS], cwd=clone, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in work.iterdir()} >= {
        *("template.yaml", "train.py", "eval.py", "export.py", "outputs", "export", "metrics.yaml")
    }
    assert {str(path.relative_to(work / "export")) for path in (work / "export").rglob("*") if path.is_file()} == {
        *("model.xml", "model.bin", "model.onnx", "alt_ssd_export/model.xml", "alt_ssd_export/model.bin"),
        *("export.json", "export.md"),
    }
    metrics = yaml.safe_load((work / "metrics.yaml").read_text())
    values = {metric["key"]: metric["value"] for metric in metrics["metrics"]}
    assert (values["size"], values["complexity"]) == (1.84, 0.82)
    assert values["bbox"] > 0
    assert metrics["files"][0]["name"] == "latest.pth"
    exported = yaml.safe_load((work / "exported_metrics.yaml").read_text())
    assert exported["files"][0]["name"] == "model.bin"
    exported_values = {metric["key"]: metric["value"] for metric in exported["metrics"]}
    assert (exported_values["size"], exported_values["complexity"]) == (1.84, 0.82)
    # In the processor's own arithmetic, which may be bfloat16.
    assert abs(exported_values["bbox"] - values["bbox"]) < 3
    compressed = yaml.safe_load((work / "compressed/exported_metrics.yaml").read_text())
    compressed_values = {metric["key"]: metric["value"] for metric in compressed["metrics"]}
    assert (compressed_values["size"], compressed_values["complexity"]) == (1.84, 0.82)
    assert abs(compressed_values["bbox"] - values["bbox"]) < 3
    # A byte for each weight instead of four, and little else.
    assert (work / "compressed/export/model.bin").stat().st_size < 0.35 * (work / "export/model.bin").stat().st_size
    pictures = sorted((work / "output_images").iterdir())
    assert len(pictures) == 16
    assert cv2.imread(str(pictures[0])).shape == (540, 960, 3)
