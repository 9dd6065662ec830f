"""The name that Light-ASD and LR-ASD give their demo; it writes the published folders.

python Columbia_test.py --videoName 001 --videoFolder demo
"""

import sys

from demoTalkNet import main

WEIGHTS = ("--pretrainModel", "weight/finetuning_TalkSet.model")  # the published default

if __name__ == "__main__":
    sys.exit(main([*WEIGHTS, "--officialTree", *sys.argv[1:]]))
