# SPDX-License-Identifier: Apache-2.0
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from adaqat.deploy import build, lower, verify
from adaqat.train import AdaQAT, calibrate, prepare, reestimate_batch_norm

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(64, 10),
)  # fmt: skip
module = prepare(model, images[:2])  # any nn.Module: quantised, with trainable bit-widths
calibrate(module, [images[:1500]])
controller = AdaQAT(module, target="cortex-m4", budget={"flash_kb": 6}, steps=600)
optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
for _ in range(600):
    pick = torch.randint(0, 1500, (64,))

    def forward(x=images[pick], y=labels[pick]):
        output = module(x)
        return cross_entropy(output, y), output

    loss, output = forward()
    optimizer.zero_grad()
    loss.backward()
    controller.step(forward, loss=loss, output=output)
    optimizer.step()
reestimate_batch_norm(module, [images[:1500]])

graph = lower(module.eval(), images[:8])  # integers only from here on
build(graph, "cortex-m4", "firmware")
report = verify(graph, "cortex-m4", images[1500:].numpy(), executor="emulator")
print(report.mismatches, "of", report.verify[0]["values"], "integers differ")
print(report.totals["cycles"], "cycles of", report.target["core"])
