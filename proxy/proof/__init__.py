# SPDX-License-Identifier: Apache-2.0
"""Proofs about policies: no two tokens share a row that they should not, and a change of the files widens nothing.

A policy's predicate, the claims of a token, the rows of its table and those of the tables of its inner SELECTs become
formulas over values that are left open, in SQL's logic of three values. A solver (z3) then finds a row and two
tokens that break the promise, or shows that there are none, whatever the tables hold.

    Policy → accesses → reading (AST to formulas) → isolation, widening → Witness, Finding
"""
