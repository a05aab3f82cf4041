"""Will this flight arrive more than 15 minutes late? Now with the timetable's planned minutes."""

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

TEXTS = ["carrier", "origin", "dest"]
NUMBERS = ["weekday", "hour", "minute", "distance"]
NUMBERS += [
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
]

rows = pd.read_parquet("data/train.parquet")
routes = pd.read_parquet("data/routes.parquet").set_index(["carrier", "origin", "dest", "weekday"])
PLANNED = routes["planned_minutes"].to_dict()


def add_planned(flights: pd.DataFrame) -> pd.DataFrame:
    """Look the planned minutes of the route and weekday up in the summer timetable."""
    keys = flights[["carrier", "origin", "dest", "weekday"]].itertuples(index=False, name=None)
    return flights.assign(planned=[PLANNED[key] for key in keys])


model = make_pipeline(
    FunctionTransformer(add_planned),
    make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan")), TEXTS),
        (SimpleImputer(), [*NUMBERS, "planned"]),
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
