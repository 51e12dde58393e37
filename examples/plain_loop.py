# SPDX-License-Identifier: Apache-2.0
"""An ordinary training loop and the four lines that make its bit-widths learn."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from adaqat.train import AdaQAT, calibrate, prepare

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(64, 10),
)  # fmt: skip
steps = 400
net = prepare(net, images[:2])  # 1
calibrate(net, [images[:512]])  # 2
adaqat = AdaQAT(net, target="cortex-m4", budget={"flash_kb": 5.5}, steps=steps)  # 3
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(steps):
    pick = torch.randint(0, 1500, (64,))
    x, y = images[pick], labels[pick]
    output = net(x)
    loss = cross_entropy(output, y)
    optimizer.zero_grad()
    loss.backward()
    adaqat.step(lambda x=x, y=y: (cross_entropy(o := net(x), y), o), loss=loss, output=output)  # 4
    optimizer.step()

right = (net.eval()(images[1500:]).argmax(1) == labels[1500:]).float().mean()
print(f"test accuracy {100 * right:.1f} %, {adaqat.costs()['flash_kb']:.2f} kB of flash")
for trial in adaqat.trials:
    print(f"  {trial.name}: {trial.score} {'<- kept' if trial.chosen else ''}")
for verdict in adaqat.verdicts():
    print(f"  {verdict.name}: {verdict.bits} bits; {verdict.why()}")
