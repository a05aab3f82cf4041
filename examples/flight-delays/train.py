"""Will this flight arrive more than 15 minutes late? A first model: January, three features."""

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TEXTS = ["carrier", "origin"]
NUMBERS = ["hour"]

rows = pd.read_parquet("data/train.parquet")
rows = rows[rows["month"] == 1]

model = make_pipeline(
    make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), TEXTS),
        (StandardScaler(), NUMBERS),
    ),
    LogisticRegression(max_iter=300),
)
model.fit(rows[TEXTS + NUMBERS].astype(dict.fromkeys(NUMBERS, float)), rows["late"])
print(f"trained on {len(rows):,} flights of January with {len(TEXTS + NUMBERS)} columns")

# What a request may carry: every column may be missing.
inputs = [ColSpec("string", name, required=False) for name in TEXTS]
inputs += [ColSpec("double", name, required=False) for name in NUMBERS]
mlflow.sklearn.log_model(
    model,
    name="model",
    signature=ModelSignature(inputs=Schema(inputs)),
    serialization_format="cloudpickle",
    pip_requirements=["scikit-learn", "pandas", "cloudpickle"],
)
