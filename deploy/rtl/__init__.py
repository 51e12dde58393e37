# SPDX-License-Identifier: Apache-2.0
"""The FPGA back end: a graph as a chain of streaming Verilog modules, one per node.

``plan`` says what a module is, ``engine`` and ``elementwise`` plan modules, ``design`` joins them,
``emit`` prints them, ``timing`` predicts every cycle, ``simulation`` runs the text in Verilator.
"""
