/** What the predictions for labelled images come to. */
import type { RankedClasses } from "./classes.js";

/** What a model said of an image whose class is known. */
export interface Prediction {
  /** Index of the class that the label names. */
  readonly label: number;
  /** Index of the most probable class. */
  readonly predicted: number;
  /** Of the predicted class, by softmax. */
  readonly probability: number;
  /** Of the label's class. */
  readonly labelProbability: number;
  /** The place of the label's class among all, the most probable first, from 1. */
  readonly rank: number;
}

export interface EvalSummary {
  /** Images whose label's class is the most probable, and among the `k` most probable. */
  readonly right: number;
  readonly rightInTop: number;
  readonly top1: number;
  readonly topK: number;
  /** Mean probability of the predicted classes. */
  readonly meanConfidence: number;
  /** Classes that a label names, the worst first. */
  readonly classes: readonly { readonly class: number; readonly images: number; readonly right: number; readonly accuracy: number }[];
  /** How often each label got each prediction: pairs that occur, the most frequent first. */
  readonly confusions: readonly { readonly label: number; readonly predicted: number; readonly count: number }[];
}

export function predictionOf(label: number, { order, probabilityOf }: RankedClasses): Prediction {
  const predicted = order[0]!;
  return { label, predicted, probability: probabilityOf(predicted), labelProbability: probabilityOf(label), rank: order.indexOf(label) + 1 };
}

/** @param predictions at least one */
export function summarizePredictions(predictions: readonly Prediction[], k: number): EvalSummary {
  const images = predictions.length;
  const byLabel = new Map<number, Prediction[]>();
  const pairs = new Map<string, { label: number; predicted: number; count: number }>();
  for (const prediction of predictions) {
    const { label, predicted } = prediction;
    byLabel.set(label, byLabel.get(label) ?? []).get(label)!.push(prediction);
    const key = `${label} ${predicted}`;
    const pair = pairs.get(key) ?? { label, predicted, count: 0 };
    pair.count++;
    pairs.set(key, pair);
  }
  const isRight = ({ rank }: Prediction): boolean => rank === 1;
  const right = predictions.filter(isRight).length;
  const rightInTop = predictions.filter(({ rank }) => rank <= k).length;
  const classes = [...byLabel].map(([index, own]) => {
    const ownRight = own.filter(isRight).length;
    return { class: index, images: own.length, right: ownRight, accuracy: ownRight / own.length };
  });
  return {
    right,
    rightInTop,
    top1: right / images,
    topK: rightInTop / images,
    meanConfidence: predictions.reduce((sum, { probability }) => sum + probability, 0) / images,
    // Of classes that are equally bad, the one with more images says more.
    classes: classes.sort((a, b) => a.accuracy - b.accuracy || b.images - a.images || a.class - b.class),
    confusions: [...pairs.values()].sort((a, b) => b.count - a.count || a.label - b.label || a.predicted - b.predicted),
  };
}
