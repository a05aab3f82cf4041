"""Will this flight arrive more than 15 minutes late? Without the weather: fewer features to maintain."""

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

TEXTS = ["carrier", "origin", "dest"]
NUMBERS = ["weekday", "hour", "minute", "distance"]

rows = pd.read_parquet("data/train.parquet")

model = make_pipeline(
    make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan")), TEXTS),
        (SimpleImputer(), NUMBERS),
    ),
    HistGradientBoostingClassifier(max_iter=60, categorical_features=[0, 1, 2], random_state=0),
)
model.fit(rows[TEXTS + NUMBERS].astype(dict.fromkeys(NUMBERS, float)), rows["late"])
print(f"trained on {len(rows):,} flights of January to June with {len(TEXTS + NUMBERS)} columns")

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
